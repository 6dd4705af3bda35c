/* Reads the machine's energy counters: RAPL, batteries, GPUs. */
#define _GNU_SOURCE
#include "base/energy.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/nvml.h"
#include "base/usage.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_METERS = 64, LINE_MAX_BYTES = 256 };
/* More than any machine takes through one meter; counters may be that much late. */
static const double MAX_WATTS = 5000, LATE_SECONDS = 1;
static const double SAMPLE_SECONDS = 0.2, HOUR = 3600, MILLI = 1e-3, MICRO = 1e-6;

/* What a battery tells. */
typedef enum { GAUGE_POWER, GAUGE_CURRENT, GAUGE_ENERGY, GAUGE_CHARGE, N_GAUGES } gauge;

typedef struct meter meter;

/* Joules since the last call, which was some seconds ago. */
typedef bool (*sample_fn)(meter *m, double seconds, double *joules);

/* One RAPL zone, battery, or GPU. */
struct meter {
    sample_fn sample;
    char *folder;        /* of a zone, a battery */
    gauge gauge;         /* of a battery */
    const me_nvml *nvml; /* of a GPU */
    int gpu;
    double last; /* RAPL, NVML: the counter; battery: watts or amperes, or joules or coulombs that are left */
    double largest; /* RAPL: the counter wraps to 0 after this value, in microjoules */
};

struct me_energy {
    const char *source; /* NULL: nothing can be read, or no longer */
    me_nvml *nvml;
    double idle_watts;
    double joules;
    double opened, sampled; /* seconds */
    meter meters[MAX_METERS];
    int n;
};

/* ---- files ------------------------------------------------------------------------------------------- */

static bool read_text(const char *folder, const char *file, char line[LINE_MAX_BYTES]) {
    char path[PATH_MAX];
    return (size_t)snprintf(path, sizeof path, "%s/%s", folder, file) < sizeof path &&
           me_read_line(path, line, LINE_MAX_BYTES);
}

static bool has_text(const char *folder, const char *file, const char *text) {
    char line[LINE_MAX_BYTES];
    return read_text(folder, file, line) && strcmp(line, text) == 0;
}

/* Decimal digits, perhaps behind a minus. Counters stay below 2^53. */
static bool read_number(const char *folder, const char *file, double *out) {
    char line[LINE_MAX_BYTES], *end;
    if (!read_text(folder, file, line)) return false;
    errno = 0;
    const long long value = strtoll(line, &end, 10);
    *out = (double)value;
    return end != line && !*end && errno == 0 && llabs(value) < 1LL << 53;
}

/* ---- RAPL -------------------------------------------------------------------------------------------- */

static bool is_zone(const char *folder, const char *entry) {
    char name[LINE_MAX_BYTES];
    return strncmp(entry, "intel-rapl:", 11) == 0 && read_text(folder, "name", name) &&
           (strncmp(name, "package", 7) == 0 || strcmp(name, "dram") == 0);
}

static bool read_counter(const meter *m, double *out) {
    return read_number(m->folder, "energy_uj", out) && *out >= 0 && *out <= m->largest;
}

static bool open_zone(meter *m) {
    return read_number(m->folder, "max_energy_range_uj", &m->largest) && read_counter(m, &m->last);
}

static bool sample_zone(meter *m, double seconds, double *joules) {
    double now;
    (void)seconds;
    if (!read_counter(m, &now)) return false;
    *joules = MICRO * (now >= m->last ? now - m->last : now + (m->largest - m->last) + 1);
    m->last = now;
    return true;
}

/* ---- batteries --------------------------------------------------------------------------------------- */

static bool is_power(const meter *m) {
    return m->gauge == GAUGE_POWER || m->gauge == GAUGE_CURRENT;
}

/* Of the machine itself, not of its mouse. */
static bool is_battery(const char *folder, const char *entry) {
    (void)entry;
    return has_text(folder, "type", "Battery") && !has_text(folder, "scope", "Device") &&
           has_text(folder, "status", "Discharging");
}

/* Watts or amperes, or what is left: joules or coulombs; and volts where they are to be multiplied with. The
 * sign of power and current is the driver's choice. */
static bool read_gauge(const meter *m, double *out, double *volts) {
    static const char *const files[N_GAUGES] = {"power_now", "current_now", "energy_now", "charge_now"};
    double value;
    *volts = 1;
    if (!read_number(m->folder, files[m->gauge], &value)) return false;
    if (m->gauge == GAUGE_CURRENT || m->gauge == GAUGE_CHARGE) {
        if (!read_number(m->folder, "voltage_now", volts) || !(*volts > 0)) return false;
        *volts *= MICRO;
    }
    *out = MICRO * (is_power(m) ? fabs(value) : HOUR * value);
    return is_power(m) ? *out > 0 && *out * *volts <= MAX_WATTS : *out >= 0;
}

static bool open_battery(meter *m) {
    double volts;
    for (m->gauge = GAUGE_POWER; m->gauge < N_GAUGES; m->gauge++)
        if (read_gauge(m, &m->last, &volts)) return true;
    return false;
}

static bool sample_battery(meter *m, double seconds, double *joules) {
    double now, volts;
    if (!is_battery(m->folder, NULL) || !read_gauge(m, &now, &volts)) return false;
    *joules = volts * (is_power(m) ? seconds * (now + m->last) / 2 : fmax(m->last - now, 0));
    m->last = now;
    return true;
}

/* ---- GPUs -------------------------------------------------------------------------------------------- */

static bool sample_gpu(meter *m, double seconds, double *joules) {
    double now;
    (void)seconds;
    if (!me_nvml_millijoules(m->nvml, m->gpu, &now) || now < m->last) return false;
    *joules = MILLI * (now - m->last);
    m->last = now;
    return true;
}

/* ---- all of them ------------------------------------------------------------------------------------- */

static void drop_meters(me_energy *energy) {
    for (int i = 0; i < energy->n; i++)
        me_free(energy->meters[i].folder);
    energy->n = 0;
    energy->source = NULL;
    me_nvml_close(energy->nvml);
    energy->nvml = NULL;
}

/* A kind of meter that is a folder of files. */
typedef struct {
    const char *source, *folder;
    bool (*is_one)(const char *folder, const char *entry);
    bool (*open)(meter *m);
    sample_fn sample;
} kind;

/* False where the entry is a meter that cannot be read. */
static bool add_meter(me_energy *energy, const kind *k, const char *parent, const char *entry) {
    char folder[PATH_MAX];
    meter *m = &energy->meters[energy->n];
    if ((size_t)snprintf(folder, sizeof folder, "%s/%s", parent, entry) >= sizeof folder) return false;
    if (!k->is_one(folder, entry)) return true;
    if (energy->n == MAX_METERS) return false;
    *m = (meter){.sample = k->sample, .folder = me_strdup(folder)};
    energy->n += m->folder != NULL;
    return m->folder && k->open(m);
}

/* All meters of the kind, or none. */
static bool open_meters(me_energy *energy, const kind *k, const char *root) {
    char parent[PATH_MAX];
    bool whole = (size_t)snprintf(parent, sizeof parent, "%s/%s", root, k->folder) < sizeof parent;
    DIR *folder = whole ? opendir(parent) : NULL;
    if (!folder) return false;
    for (struct dirent *entry; whole && (entry = readdir(folder));)
        whole = entry->d_name[0] == '.' || add_meter(energy, k, parent, entry->d_name);
    (void)closedir(folder);
    if (whole && energy->n) energy->source = k->source;
    if (!energy->source) drop_meters(energy);
    return energy->source != NULL;
}

/* All GPUs beside the meters that there are, or none. */
static void add_gpus(me_energy *energy, const char *library) {
    const int before = energy->n;
    me_nvml *nvml = me_nvml_open(library);
    bool whole = nvml && me_nvml_count(nvml) <= MAX_METERS - before;
    for (int i = 0; whole && i < me_nvml_count(nvml); i++) {
        meter *m = &energy->meters[energy->n];
        *m = (meter){.sample = sample_gpu, .nvml = nvml, .gpu = i};
        whole = me_nvml_millijoules(nvml, i, &m->last);
        energy->n++;
    }
    if (whole) {
        energy->nvml = nvml;
        energy->source = before ? "rapl+nvml" : "nvml";
    } else {
        energy->n = before;
        me_nvml_close(nvml);
    }
}

me_energy *me_energy_open(const me_energy_places *places, double idle_watts) {
    static const kind rapl = {"rapl", "powercap", is_zone, open_zone, sample_zone};
    static const kind battery = {"battery", "power_supply", is_battery, open_battery, sample_battery};
    const char *root = places && places->root ? places->root : "/sys/class";
    me_energy *energy = me_calloc(1, sizeof *energy);
    if (!energy) return NULL;
    energy->idle_watts = idle_watts;
    if (open_meters(energy, &rapl, root) || !open_meters(energy, &battery, root))
        add_gpus(energy, places ? places->nvml : NULL);
    energy->opened = energy->sampled = me_wall_seconds();
    return energy;
}

void me_energy_close(me_energy *energy) {
    if (energy) drop_meters(energy);
    me_free(energy);
}

static void sample(me_energy *energy) {
    const double now = me_wall_seconds(), seconds = now - energy->sampled;
    for (int i = 0; i < energy->n; i++) {
        meter *m = &energy->meters[i];
        double joules = 0;
        if (!m->sample(m, seconds, &joules) || !(joules <= MAX_WATTS * (seconds + LATE_SECONDS))) {
            drop_meters(energy);
            return;
        }
        energy->joules += joules;
    }
    energy->sampled = now;
}

void me_energy_sample(me_energy *energy) {
    if (energy && me_wall_seconds() - energy->sampled >= SAMPLE_SECONDS) sample(energy);
}

double me_energy_joules(me_energy *energy) {
    if (energy) sample(energy);
    if (!energy || !energy->source) return NAN;
    return fmax(energy->joules - energy->idle_watts * (energy->sampled - energy->opened), 0);
}

const char *me_energy_source(const me_energy *energy) {
    return energy ? energy->source : NULL;
}

double me_energy_idle_watts(const me_energy_places *places, double seconds) {
    me_energy *energy = me_energy_open(places, 0);
    const struct timespec slice = {.tv_nsec = (long)(1e9 * SAMPLE_SECONDS)};
    while (me_energy_source(energy) && me_wall_seconds() - energy->opened < seconds) {
        (void)nanosleep(&slice, NULL);
        me_energy_sample(energy);
    }
    const double joules = me_energy_joules(energy);
    const double watts = isnan(joules) ? NAN : joules / (energy->sampled - energy->opened);
    me_energy_close(energy);
    return watts;
}
