# Debian packages, by `make deb`: mobiedit with the command, libmobiedit0 with the library and the libllama that both use,
# libmobiedit-dev for programs that embed it. What they depend on is read from their files.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME mobiedit)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "corrects facts in quantized language models by forward passes only")
set(MOBIEDIT_MAINTAINER "" CACHE STRING "Who builds Debian packages: Name <address> (scripts/deb.sh finds it)")
set(CPACK_PACKAGE_CONTACT "${MOBIEDIT_MAINTAINER}")
set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL command library development)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${MOBIEDIT_BUNDLE}/lib)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_SOURCE_DIR}/cmake/debian_files.cmake)
set(CPACK_DEBIAN_MOBIEDIT_SOURCE ${PROJECT_SOURCE_DIR}) # which debian_files.cmake reads

set(CPACK_DEBIAN_COMMAND_PACKAGE_NAME mobiedit)
set(CPACK_DEBIAN_COMMAND_PACKAGE_SECTION science)
set(CPACK_DEBIAN_COMMAND_PACKAGE_DEPENDS "libmobiedit0 (= ${PROJECT_VERSION}-1)")
set(CPACK_COMPONENT_COMMAND_DESCRIPTION "MobiEdit corrects or adds one fact in a language model in GGUF, on the
 machine that runs the model, and writes the change as a small LoRA adapter for
 llama.cpp. This package has the command.")

set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME libmobiedit${PROJECT_VERSION_MAJOR})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "This package has the library, which does what the mobiedit command does, and
 the libllama that both use.")
configure_file(packaging/debian/shlibs.in debian/shlibs @ONLY)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA "${PROJECT_SOURCE_DIR}/packaging/debian/triggers;${PROJECT_BINARY_DIR}/debian/shlibs")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libmobiedit-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libmobiedit${PROJECT_VERSION_MAJOR} (= ${PROJECT_VERSION}-1), libcjson-dev, \
liblapacke-dev, libopenblas-dev, liblbfgs-dev, libsqlite3-dev, libxxhash-dev, libutf8proc-dev, pkg-config")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "This package has the header, which is also the manual of the library, the
 static library, and what CMake and pkg-config read.")
include(CPack)
