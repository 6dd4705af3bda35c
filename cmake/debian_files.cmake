# Adds to each staged Debian package what Debian's policy wants there: the copyright, the changelog, a packed man page,
# stripped libraries.
set(docs share/doc)
foreach(package command:mobiedit library:libmobiedit0 development:libmobiedit-dev)
  string(REPLACE ":" ";" package ${package})
  list(GET package 0 component)
  list(GET package 1 name)
  set(root ${CPACK_TEMPORARY_DIRECTORY}/${component}${CPACK_PACKAGING_INSTALL_PREFIX})
  set(folder ${root}/${docs}/${name})
  file(MAKE_DIRECTORY ${folder})
  file(COPY_FILE ${CPACK_DEBIAN_MOBIEDIT_SOURCE}/packaging/debian/copyright ${folder}/copyright)
  string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
  file(WRITE ${folder}/changelog.Debian "mobiedit (${CPACK_PACKAGE_VERSION}-1) unstable; urgency=medium

  * What has changed is in the upstream change log.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
  execute_process(COMMAND gzip -9nf ${folder}/changelog.Debian COMMAND_ERROR_IS_FATAL ANY)
  # CPack strips what is installed as a target; libllama is a folder.
  file(GLOB libraries ${root}/lib/*/mobiedit/lib/*.so.*.*)
  foreach(library ${libraries})
    execute_process(COMMAND strip --strip-unneeded --remove-section=.comment --remove-section=.note ${library}
                    COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
  file(GLOB pages ${root}/share/man/man*/*.[1-9])
  foreach(page ${pages})
    execute_process(COMMAND gzip -9nf ${page} COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
endforeach()
