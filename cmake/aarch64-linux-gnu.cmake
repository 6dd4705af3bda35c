# Cross-compiling for aarch64 with Debian's gcc; programs run under qemu. MOBIEDIT_SYSROOT names the folder of the
# libraries, see scripts/sysroot.sh; unset: those of the compiler are all that is needed.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)

# Nothing of this machine's own libraries, but what is named by its path is found.
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE BOTH)

if(DEFINED ENV{MOBIEDIT_SYSROOT})
  set(sysroot $ENV{MOBIEDIT_SYSROOT})
  set(libraries ${sysroot}/usr/lib/aarch64-linux-gnu)
  list(PREPEND CMAKE_FIND_ROOT_PATH ${sysroot})
  set(ENV{PKG_CONFIG_SYSROOT_DIR} ${sysroot})
  set(ENV{PKG_CONFIG_LIBDIR} ${libraries}/pkgconfig:${sysroot}/usr/share/pkgconfig)
  include_directories(SYSTEM ${sysroot}/usr/include)
  add_link_options(-Wl,-rpath-link,${libraries})
  set(CMAKE_CROSSCOMPILING_EMULATOR "qemu-aarch64;-L;${sysroot}")
endif()
