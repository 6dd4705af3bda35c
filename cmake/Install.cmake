# make install: header, both libraries, pkg-config file, CMake package, the command with its man page and completion,
# the pages and the examples, and, if libllama came from the cache, a copy of it that only libmobiedit uses.
# The components are the Debian packages of Package.cmake: `command`, `library`, and `development`.
include(CMakePackageConfigHelpers)
set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME command)

set(MOBIEDIT_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/mobiedit)
set(pc_libdir "\${prefix}")
set(pc_includedir "\${prefix}")
cmake_path(APPEND pc_libdir ${CMAKE_INSTALL_LIBDIR})
cmake_path(APPEND pc_includedir ${CMAKE_INSTALL_INCLUDEDIR})
set(pc_llama_libdir ${LLAMA_LIB_DIR})
set(MOBIEDIT_BUNDLE_DIR "")
if(MOBIEDIT_BUNDLE)
  set(MOBIEDIT_BUNDLE_DIR ${CMAKE_INSTALL_LIBDIR}/mobiedit)
  set(pc_llama_libdir "\${libdir}/mobiedit/lib")
  install(DIRECTORY ${MOBIEDIT_BUNDLE}/ DESTINATION ${MOBIEDIT_BUNDLE_DIR} COMPONENT library
          PATTERN pkgconfig EXCLUDE PATTERN cmake EXCLUDE PATTERN include EXCLUDE PATTERN *.so EXCLUDE)
  install(DIRECTORY ${MOBIEDIT_BUNDLE}/ DESTINATION ${MOBIEDIT_BUNDLE_DIR} COMPONENT development
          PATTERN pkgconfig EXCLUDE PATTERN *.so.* EXCLUDE PATTERN LICENSE EXCLUDE)
  set_target_properties(mobiedit_shared PROPERTIES INSTALL_RPATH $ORIGIN/mobiedit/lib)
  set_target_properties(mobiedit PROPERTIES INSTALL_RPATH $ORIGIN/../${CMAKE_INSTALL_LIBDIR}/mobiedit/lib)
else()
  set_target_properties(mobiedit_shared mobiedit PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
endif()

install(TARGETS mobiedit RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS mobiedit_shared mobiedit_static EXPORT mobieditTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT development
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES include/mobiedit.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development)
install(FILES doc/mobiedit.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${PROJECT_BINARY_DIR}/completion.bash RENAME mobiedit
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${PROJECT_BINARY_DIR}/completion.zsh RENAME _mobiedit
        DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
# As they lie in the repository, so that the links of README lead to the same pages.
install(FILES LICENSE README.md CHANGELOG.md CONTRIBUTING.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY doc DESTINATION ${CMAKE_INSTALL_DOCDIR} PATTERN *.1 EXCLUDE)
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR})

install(FILES ${MOBIEDIT_JINJA}/LICENSE RENAME LICENSE.llama.cpp DESTINATION ${CMAKE_INSTALL_DOCDIR})

configure_file(cmake/mobiedit.pc.in mobiedit.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/mobiedit.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

install(EXPORT mobieditTargets NAMESPACE mobiedit:: DESTINATION ${MOBIEDIT_CMAKE_DIR} COMPONENT development)
configure_package_config_file(cmake/mobieditConfig.cmake.in mobieditConfig.cmake
                              INSTALL_DESTINATION ${MOBIEDIT_CMAKE_DIR} PATH_VARS MOBIEDIT_BUNDLE_DIR)
write_basic_package_version_file(mobieditConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/mobieditConfig.cmake ${PROJECT_BINARY_DIR}/mobieditConfigVersion.cmake
        DESTINATION ${MOBIEDIT_CMAKE_DIR} COMPONENT development)
