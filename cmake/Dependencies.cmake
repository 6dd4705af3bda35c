# What the library stands on: ggml and libllama, LAPACK on OpenBLAS, cJSON, threads; cmocka for the tests.
# The versions of ggml and libllama whose interfaces are used; mobieditConfig.cmake.in asks for the same.
set(MOBIEDIT_LLAMA_VERSION 0.5...<0.6)
set(MOBIEDIT_GGML_VERSION 0.25...<0.26)

# An installed libllama serves if it is of that version; else one is built into the cache, once, and is
# installed beside libmobiedit so that the installation does not depend on the cache.
find_package(llama ${MOBIEDIT_LLAMA_VERSION} QUIET)
if(NOT llama_FOUND)
  message(STATUS "No libllama ${MOBIEDIT_LLAMA_VERSION} is installed: taking it from the cache")
  execute_process(COMMAND ${PROJECT_SOURCE_DIR}/scripts/libllama.sh OUTPUT_VARIABLE MOBIEDIT_BUNDLE
                  OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "scripts/libllama.sh failed, see above")
  endif()
  find_package(llama ${MOBIEDIT_LLAMA_VERSION} REQUIRED PATHS ${MOBIEDIT_BUNDLE} NO_DEFAULT_PATH)
endif()
find_package(ggml ${MOBIEDIT_GGML_VERSION} REQUIRED HINTS ${LLAMA_LIB_DIR}/cmake)

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(lapacke REQUIRED IMPORTED_TARGET lapacke openblas)
pkg_check_modules(cjson REQUIRED IMPORTED_TARGET libcjson)
pkg_check_modules(cmocka REQUIRED IMPORTED_TARGET cmocka)

# find_package(llama) caches where it found the library; a bundle may move with the cache folder.
if(MOBIEDIT_BUNDLE)
  unset(llama_DIR CACHE)
  unset(ggml_DIR CACHE)
  unset(llama_LIBRARY CACHE)
endif()
