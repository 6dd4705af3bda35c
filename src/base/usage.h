/* What the process has used: time, memory, energy. */
#ifndef ME_BASE_USAGE_H
#define ME_BASE_USAGE_H

#include <stddef.h>

double me_wall_seconds(void);   /* from an arbitrary start; never goes back */
double me_cpu_seconds(void);    /* of all threads of this process */
size_t me_peak_rss_bytes(void); /* the most resident memory so far; 0 where the system does not tell */

/* Joules that the processor packages and their memory used since me_energy_open, by the RAPL counters that
 * Linux shows under /sys/class/powercap. They count the whole machine, not this process alone. */
typedef struct me_energy me_energy;

/* `root` is the folder of the counters, NULL for the system's. NULL where memory runs out; a machine without
 * readable counters gives an object that says NaN. */
me_energy *me_energy_open(const char *root);
void me_energy_close(me_energy *energy);

/* Joules so far, or NaN. A counter wraps after about 0.3 MJ: two calls must not be further apart than one
 * turn (about an hour at 70 W). `energy` may be NULL: NaN. */
double me_energy_joules(me_energy *energy);

#endif
