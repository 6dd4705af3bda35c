/* Joules that the machine has used, from the first of the first two that can be read:
 *
 *   rapl     the counters of the processor packages and of their memory, in powercap/intel-rapl:* (Linux on
 *            x86; AMD's are there too). Not cores and graphics, which are parts of a package, nor psys, which
 *            is more than one. They wrap to 0 beyond max_energy_range_uj. Often readable by root only.
 *   battery  what batteries give while they discharge, in power_supply/<name> (laptops, phones): power_now,
 *            or current_now times voltage_now, taken now and then with straight lines between; without
 *            either, the differences of energy_now or of charge_now times voltage_now. On a charger there
 *            is nothing to be read.
 *
 * and, but where batteries tell, which feed everything,
 *
 *   nvml     the counters of NVIDIA's GPUs (Volta and later), by their driver's library.
 *
 * All count the whole machine, not this process alone; nvml alone is its GPUs, where the processors' counters
 * cannot be read. Whatever cannot be true (a counter beyond its range, more watts than a machine takes, a
 * file that is gone) makes the result NaN, never a wrong number. */
#ifndef ME_BASE_ENERGY_H
#define ME_BASE_ENERGY_H

#include <stdbool.h>

typedef struct me_energy me_energy;

/* Where the machine's counters are. */
typedef struct {
    const char *root; /* holds powercap and power_supply; NULL: /sys/class */
    const char *nvml; /* NVML's library; NULL: the driver's own */
} me_energy_places;

/* `places` NULL: this machine's own. idle_watts, of the machine without the work, are subtracted. NULL where
 * memory runs out; where nothing can be read, an object that says NaN. */
me_energy *me_energy_open(const me_energy_places *places, double idle_watts);
void me_energy_close(me_energy *energy);

/* To be called now and then, more often than once a second if that is easy: does nothing where it was called
 * a moment ago. A RAPL counter wraps after about 0.3 MJ: an hour at 70 W. `energy` may be NULL. */
void me_energy_sample(me_energy *energy);

/* Joules since it was opened, not below 0, or NaN. `energy` may be NULL: NaN. */
double me_energy_joules(me_energy *energy);

/* "rapl", "rapl+nvml", "nvml", "battery", or NULL where nothing can be read. */
const char *me_energy_source(const me_energy *energy);

/* What the machine takes while this thread sleeps for some seconds; NaN where that cannot be read. */
double me_energy_idle_watts(const me_energy_places *places, double seconds);

#endif
