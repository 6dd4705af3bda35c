/* What the process has used: time and memory. */
#ifndef ME_BASE_USAGE_H
#define ME_BASE_USAGE_H

#include <stddef.h>

double me_wall_seconds(void);   /* from an arbitrary start; never goes back */
double me_cpu_seconds(void);    /* of all threads of this process */
size_t me_peak_rss_bytes(void); /* the most resident memory so far; 0 where the system does not tell */

#endif
