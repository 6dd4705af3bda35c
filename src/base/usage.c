#define _GNU_SOURCE
#include "base/usage.h"

#include "base/file.h"
#include "base/memory.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { MAX_ZONES = 64, LINE_MAX_BYTES = 256 };

static double clock_seconds(clockid_t id) {
    struct timespec t;
    if (clock_gettime(id, &t) != 0) return NAN;
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double me_wall_seconds(void) {
    return clock_seconds(CLOCK_MONOTONIC);
}

double me_cpu_seconds(void) {
    return clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
}

/* VmHWM is this program's own peak; ru_maxrss starts at that of the process that called exec. */
size_t me_peak_rss_bytes(void) {
    size_t kib = 0;
    FILE *status = fopen("/proc/self/status", "re");
    if (status) {
        char line[LINE_MAX_BYTES];
        while (kib == 0 && fgets(line, sizeof line, status))
            if (strncmp(line, "VmHWM:", 6) == 0) kib = strtoull(line + 6, NULL, 10);
        (void)fclose(status);
    }
    struct rusage usage;
    if (kib == 0 && getrusage(RUSAGE_SELF, &usage) == 0) kib = (size_t)usage.ru_maxrss;
    return kib * 1024;
}

/* One RAPL zone's counter, in microjoules. */
typedef struct {
    char *path;
    uint64_t last;
    uint64_t range; /* the counter wraps to 0 after this value */
} zone;

struct me_energy {
    zone zones[MAX_ZONES];
    int n_zones;
    bool readable;
    double joules;
};

static bool read_number(const char *path, uint64_t *out) {
    char line[LINE_MAX_BYTES];
    if (!me_read_line(path, line, sizeof line)) return false;
    char *end;
    *out = strtoull(line, &end, 10);
    return end != line;
}

/* Packages, and memory beside them. Cores and graphics are parts of a package, "psys" is a superset, and
 * the intel-rapl-mmio zones show the same packages again. */
static bool counts(const char *root, const char *entry) {
    if (strncmp(entry, "intel-rapl:", 11) != 0) return false;
    char path[PATH_MAX], name[LINE_MAX_BYTES];
    if ((size_t)snprintf(path, sizeof path, "%s/%s/name", root, entry) >= sizeof path) return false;
    if (!me_read_line(path, name, sizeof name)) return false;
    return strncmp(name, "package", 7) == 0 || strcmp(name, "dram") == 0;
}

static bool add_zone(me_energy *energy, const char *root, const char *entry) {
    char path[PATH_MAX];
    zone *z = &energy->zones[energy->n_zones];
    if (energy->n_zones == MAX_ZONES) return false;
    if ((size_t)snprintf(path, sizeof path, "%s/%s/max_energy_range_uj", root, entry) >= sizeof path)
        return false;
    if (!read_number(path, &z->range)) return false;
    (void)snprintf(path, sizeof path, "%s/%s/energy_uj", root, entry);
    if (!read_number(path, &z->last)) return false;
    z->path = me_strdup(path);
    if (!z->path) return false;
    energy->n_zones++;
    return true;
}

me_energy *me_energy_open(const char *root) {
    if (!root) root = "/sys/class/powercap";
    me_energy *energy = me_calloc(1, sizeof *energy);
    if (!energy) return NULL;
    DIR *folder = opendir(root);
    if (!folder) return energy;
    energy->readable = true;
    for (struct dirent *entry; (entry = readdir(folder));)
        if (counts(root, entry->d_name) && !add_zone(energy, root, entry->d_name)) energy->readable = false;
    (void)closedir(folder);
    if (energy->n_zones == 0) energy->readable = false;
    return energy;
}

void me_energy_close(me_energy *energy) {
    if (!energy) return;
    for (int i = 0; i < energy->n_zones; i++)
        me_free(energy->zones[i].path);
    me_free(energy);
}

double me_energy_joules(me_energy *energy) {
    if (!energy || !energy->readable) return NAN;
    for (int i = 0; i < energy->n_zones; i++) {
        zone *z = &energy->zones[i];
        uint64_t now;
        if (!read_number(z->path, &now)) {
            energy->readable = false;
            return NAN;
        }
        uint64_t used = now >= z->last ? now - z->last : now + (z->range - z->last) + 1;
        energy->joules += 1e-6 * (double)used;
        z->last = now;
    }
    return energy->joules;
}
