# What the library stands on: ggml and libllama, LAPACK on OpenBLAS, L-BFGS, cJSON, SQLite, xxHash, utf8proc, threads.
# The versions of ggml and libllama whose interfaces are used.
set(MOBIEDIT_LLAMA_VERSION 0.5...<0.7)
set(MOBIEDIT_GGML_VERSION 0.25...<0.27)

# An installed libllama serves if it is of that version; else one is built into the cache, once, and is
# installed beside libmobiedit so that the installation does not depend on the cache.
set(MOBIEDIT_BUNDLE "" CACHE PATH "Folder of the libllama that is installed with the library; empty: the system's")
if(NOT MOBIEDIT_BUNDLE)
  find_package(llama ${MOBIEDIT_LLAMA_VERSION} QUIET)
endif()
if(NOT llama_FOUND)
  if(NOT MOBIEDIT_BUNDLE OR NOT EXISTS "${MOBIEDIT_BUNDLE}")
    message(STATUS "No libllama ${MOBIEDIT_LLAMA_VERSION} is installed: taking it from the cache")
    execute_process(COMMAND ${PROJECT_SOURCE_DIR}/scripts/libllama.sh OUTPUT_VARIABLE bundle
                    OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
    if(failed)
      message(FATAL_ERROR "scripts/libllama.sh failed, see above")
    endif()
    set_property(CACHE MOBIEDIT_BUNDLE PROPERTY VALUE ${bundle})
    foreach(found llama_DIR ggml_DIR llama_LIBRARY)
      unset(${found} CACHE)
    endforeach()
  endif()
  find_package(llama ${MOBIEDIT_LLAMA_VERSION} REQUIRED PATHS ${MOBIEDIT_BUNDLE} NO_DEFAULT_PATH)
endif()
find_package(ggml ${MOBIEDIT_GGML_VERSION} REQUIRED HINTS ${LLAMA_LIB_DIR}/cmake)
message(STATUS "libllama ${llama_VERSION} with ggml ${ggml_VERSION}")
# What is compiled for one minor version runs with that one only: structs differ. mobieditConfig.cmake.in asks for it.
math(EXPR next "${llama_VERSION_MINOR} + 1")
set(MOBIEDIT_LLAMA_BUILT ${llama_VERSION_MAJOR}.${llama_VERSION_MINOR}...<${llama_VERSION_MAJOR}.${next})

# The engine of chat templates: no system installs it, so it is always built into the cache, and becomes part of
# libmobiedit.
set(MOBIEDIT_JINJA "" CACHE PATH "Folder that scripts/jinja.sh made; empty: it is made now")
if(NOT MOBIEDIT_JINJA OR NOT EXISTS "${MOBIEDIT_JINJA}")
  execute_process(COMMAND ${PROJECT_SOURCE_DIR}/scripts/jinja.sh OUTPUT_VARIABLE jinja
                  OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "scripts/jinja.sh failed, see above")
  endif()
  set_property(CACHE MOBIEDIT_JINJA PROPERTY VALUE ${jinja})
endif()
file(GLOB MOBIEDIT_JINJA_OBJECTS ${MOBIEDIT_JINJA}/lib/*.o)

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(lapacke REQUIRED IMPORTED_TARGET lapacke openblas liblbfgs)
pkg_check_modules(cjson REQUIRED IMPORTED_TARGET libcjson)
pkg_check_modules(ledger REQUIRED IMPORTED_TARGET sqlite3 libxxhash)
pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET libutf8proc)
