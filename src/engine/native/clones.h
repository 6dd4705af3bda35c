/* Code for wider vectors beside the base instruction set, chosen when the library is loaded. */
#ifndef ME_NATIVE_CLONES_H
#define ME_NATIVE_CLONES_H

#include <stdint.h> /* tells __GLIBC__ */

#if defined(__x86_64__) && defined(__GLIBC__) && __GNUC__ >= 12 && !defined(__clang__)
#define ME_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define ME_CLONES
#endif

#endif
