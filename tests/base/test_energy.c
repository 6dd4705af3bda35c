#define _GNU_SOURCE
/* Energy counters of a made-up /sys/class, and of made-up GPUs. */
#include "base/energy.h"
#include "base/file.h"
#include "base/usage.h"
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char root[SCRATCH_PATH_MAX];
static const me_energy_places places = {root, FAKE_NVML_LIBRARY};

static int make_root(void **state) {
    (void)state;
    return temporary_folder(root) && setenv("FAKE_NVML", root, 1) == 0 ? 0 : -1;
}

static int remove_root(void **state) {
    (void)state;
    return remove_folder(root) ? 0 : -1;
}

static const char *path_of(const char *name) {
    static char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

/* The file `name` of the tree, with the folders that it is in. */
static void put(const char *name, const char *text) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s", path_of(name));
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_true(me_write_all(fd, text, strlen(text)));
    assert_int_equal(close(fd), 0);
}

static void put_in(const char *folder, const char *file, const char *text) {
    char name[PATH_MAX];
    assert_in_range(snprintf(name, sizeof name, "%s/%s", folder, file), 1, sizeof name - 1);
    put(name, text);
}

static void put_zone(const char *zone, const char *name, const char *range, const char *energy) {
    char folder[PATH_MAX];
    assert_in_range(snprintf(folder, sizeof folder, "powercap/%s", zone), 1, sizeof folder - 1);
    put_in(folder, "name", name);
    put_in(folder, "max_energy_range_uj", range);
    put_in(folder, "energy_uj", energy);
}

static void put_battery(const char *folder, const char *status) {
    put_in(folder, "type", "Battery\n");
    put_in(folder, "status", status);
}

static void assert_near(double is, double expected) {
    if (!(fabs(is - expected) < 1e-6)) fail_msg("%g instead of %g", is, expected);
}

/* One that was opened says `joules` and no more of it, then it is closed. */
static void assert_not_measurable(me_energy *energy) {
    assert_non_null(energy);
    assert_true(isnan(me_energy_joules(energy)));
    assert_null(me_energy_source(energy));
    me_energy_close(energy);
}

static void zones_are_summed_and_wrap(void **state) {
    (void)state;
    put_zone("intel-rapl:0", "package-0\n", "262143328850\n", "262143000000\n");
    put_zone("intel-rapl:0:0", "core\n", "262143328850\n", "5\n");
    put_zone("intel-rapl:0:1", "dram\n", "1000000\n", "400000\n");
    put_zone("intel-rapl:1", "psys\n", "1000000\n", "7\n");
    put_zone("intel-rapl-mmio:0", "package-0\n", "262143328850\n", "0\n");
    me_energy *energy = me_energy_open(&places, 0);
    assert_string_equal(me_energy_source(energy), "rapl");
    assert_near(me_energy_joules(energy), 0);
    put("powercap/intel-rapl:0:0/energy_uj", "900000\n");
    put("powercap/intel-rapl:0:1/energy_uj", "900000\n");
    assert_near(me_energy_joules(energy), 0.5);
    /* The package's counter passes its end: 328851 steps to 0, 671149 more. */
    put("powercap/intel-rapl:0/energy_uj", "671149\n");
    assert_near(me_energy_joules(energy), 1.5);
    me_energy_sample(energy); /* too soon to read anything */
    put("powercap/intel-rapl:0/energy_uj", "damaged\n");
    assert_not_measurable(energy);
}

static void absurd_counters_are_not_believed(void **state) {
    (void)state;
    static const char *const absurd[] = {
        "262143328851\n",         /* beyond its range */
        "-1\n",                   /* no counter */
        "99999999999999999999\n", /* no number */
        "1e3\n",
        "",
        "5\n", /* begun anew: that it wrapped would be 0.26 MJ in no time */
    };
    for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++) {
        put_zone("intel-rapl:0", "package-0\n", "262143328850\n", "1000000\n");
        me_energy *energy = me_energy_open(&places, 0);
        assert_near(me_energy_joules(energy), 0);
        put("powercap/intel-rapl:0/energy_uj", absurd[i]);
        assert_not_measurable(energy);
    }
    put_zone("intel-rapl:0", "package-0\n", "0\n", "1000000\n");
    assert_not_measurable(me_energy_open(&places, 0));
    put_zone("intel-rapl:0", "package-0\n", "soon\n", "1000000\n");
    assert_not_measurable(me_energy_open(&places, 0));
}

static void files_that_are_gone_or_closed_to_us_are_not_measurable(void **state) {
    (void)state;
    put_zone("intel-rapl:0", "package-0\n", "1000000\n", "10\n");
    put_zone("intel-rapl:1", "package-1\n", "1000000\n", "10\n");
    me_energy *energy = me_energy_open(&places, 0);
    assert_near(me_energy_joules(energy), 0);
    assert_int_equal(unlink(path_of("powercap/intel-rapl:1/energy_uj")), 0);
    assert_not_measurable(energy);
    /* One of two packages is not the machine. */
    assert_not_measurable(me_energy_open(&places, 0));
    put("powercap/intel-rapl:1/energy_uj", "10\n");
    assert_int_equal(chmod(path_of("powercap/intel-rapl:1/energy_uj"), 0), 0);
    energy = me_energy_open(&places, 0);
    if (geteuid() == 0)
        me_energy_close(energy); /* root may read anything */
    else
        assert_not_measurable(energy);
}

static void without_any_counter_nothing_is_measurable(void **state) {
    (void)state;
    assert_not_measurable(me_energy_open(&places, 0));
    assert_not_measurable(me_energy_open(&(me_energy_places){"/no/such/folder", "/no/such/library"}, 5));
    assert_true(isnan(me_energy_idle_watts(&places, 10))); /* at once */
    assert_true(isnan(me_energy_joules(NULL)));
    assert_null(me_energy_source(NULL));
    me_energy_sample(NULL);
    me_energy_close(NULL);
}

/* Joules of the meter over a while that lasts between *least and *most seconds. */
static double joules_over_a_while(double idle_watts, double *least, double *most) {
    const double begin = me_wall_seconds();
    me_energy *energy = me_energy_open(&places, idle_watts);
    const double opened = me_wall_seconds();
    (void)usleep(20000);
    const double closing = me_wall_seconds(), joules = me_energy_joules(energy);
    *least = closing - opened;
    *most = me_wall_seconds() - begin;
    assert_string_equal(me_energy_source(energy), "battery");
    me_energy_close(energy);
    return joules;
}

static void assert_watts(double watts, double idle_watts) {
    double least, most;
    const double joules = joules_over_a_while(idle_watts, &least, &most), net = watts - idle_watts;
    if (!(joules >= net * least && joules <= net * most))
        fail_msg("%g J in %g to %g s are not %g W", joules, least, most, net);
}

static void a_battery_that_discharges_tells_its_power(void **state) {
    (void)state;
    put("power_supply/AC/type", "Mains\n");
    put_battery("power_supply/mouse", "Discharging\n");
    put("power_supply/mouse/scope", "Device\n");
    put("power_supply/mouse/power_now", "1000000\n");
    put_battery("power_supply/BAT0", "Discharging\n");
    put("power_supply/BAT0/current_now", "-2000000\n"); /* 2 A, of a driver that counts them as less than 0 */
    put("power_supply/BAT0/voltage_now", "4000000\n");
    put("power_supply/BAT0/energy_now", "40000000\n");
    assert_watts(8, 0);
    assert_watts(8, 3);
    put("power_supply/BAT0/power_now", "12000000\n");
    assert_watts(12, 0);
    put_battery("power_supply/BAT1", "Full\n");
    assert_watts(12, 0);
    put_battery("power_supply/BAT1", "Discharging\n");
    put("power_supply/BAT1/power_now", "3000000\n");
    assert_watts(15, 0);
    double least, most;
    assert_near(joules_over_a_while(1000, &least, &most), 0); /* not less than nothing */
    assert_near(me_energy_idle_watts(&places, 0.05), 15);
}

static void a_battery_may_tell_only_what_is_left(void **state) {
    (void)state;
    put_battery("power_supply/battery", "Discharging\n");
    put("power_supply/battery/charge_now", "3000000\n"); /* 3 Ah */
    put("power_supply/battery/voltage_now", "4000000\n");
    me_energy *energy = me_energy_open(&places, 0);
    put("power_supply/battery/charge_now", "2999900\n"); /* 0.36 As less, at 3.9 V */
    put("power_supply/battery/voltage_now", "3900000\n");
    assert_near(me_energy_joules(energy), 0.36 * 3.9);
    me_energy_close(energy);
    put("power_supply/battery/energy_now", "10000000\n"); /* 10 Wh, which is better */
    energy = me_energy_open(&places, 0);
    put("power_supply/battery/energy_now", "9999000\n"); /* 1 mWh less */
    assert_near(me_energy_joules(energy), 3.6);
    put("power_supply/battery/energy_now", "1000\n"); /* nearly empty at once */
    assert_not_measurable(energy);
}

static void a_charger_makes_batteries_useless(void **state) {
    (void)state;
    put_battery("power_supply/BAT0", "Charging\n");
    put("power_supply/BAT0/power_now", "12000000\n");
    assert_not_measurable(me_energy_open(&places, 0));
    put_battery("power_supply/BAT0", "Discharging\n");
    me_energy *energy = me_energy_open(&places, 0);
    put_battery("power_supply/BAT0", "Charging\n");
    assert_not_measurable(energy);
    put_battery("power_supply/BAT0", "Discharging\n");
    put("power_supply/BAT0/power_now", "9000000000000\n"); /* 9 MW */
    assert_not_measurable(me_energy_open(&places, 0));
    put("power_supply/BAT0/power_now", "0\n"); /* a driver that does not know */
    assert_not_measurable(me_energy_open(&places, 0));
}

static void batteries_stand_in_for_counters_that_cannot_be_read(void **state) {
    (void)state;
    put_zone("intel-rapl:0", "package-0\n", "1000000\n", "closed to us\n");
    put_battery("power_supply/BAT0", "Discharging\n");
    put("power_supply/BAT0/power_now", "12000000\n");
    assert_watts(12, 0);
}

static void gpus_are_added_to_the_packages(void **state) {
    (void)state;
    put_zone("intel-rapl:0", "package-0\n", "262143328850\n", "1000000\n");
    put("count", "2\n");
    put("0", "5000\n");
    put("1", "123456789000\n");
    me_energy *energy = me_energy_open(&places, 0);
    assert_string_equal(me_energy_source(energy), "rapl+nvml");
    put("powercap/intel-rapl:0/energy_uj", "1500000\n");
    put("0", "5250\n");
    put("1", "123456789125\n");
    assert_near(me_energy_joules(energy), 0.5 + 0.25 + 0.125);
    put("1", "123456789000\n"); /* backwards */
    assert_not_measurable(energy);
}

static void gpus_alone_are_said_to_be_so(void **state) {
    (void)state;
    put("count", "1\n");
    put("0", "5000\n");
    me_energy *energy = me_energy_open(&places, 0);
    assert_string_equal(me_energy_source(energy), "nvml");
    put("0", "6000\n");
    assert_near(me_energy_joules(energy), 1);
    assert_int_equal(unlink(path_of("0")), 0);
    assert_not_measurable(energy);
}

static void gpus_that_do_not_tell_are_left_out(void **state) {
    (void)state;
    static const char *const counts[] = {"2\n", "0\n", "65\n", "4000000000\n", "none\n"};
    put("0", "5000\n"); /* of two only one tells */
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        put("count", counts[i]);
        assert_not_measurable(me_energy_open(&places, 0));
    }
    put_zone("intel-rapl:0", "package-0\n", "262143328850\n", "1000000\n");
    me_energy *energy = me_energy_open(&places, 0);
    assert_string_equal(me_energy_source(energy), "rapl");
    me_energy_close(energy);
}

static void a_battery_feeds_the_gpu_too(void **state) {
    (void)state;
    put_battery("power_supply/BAT0", "Discharging\n");
    put("power_supply/BAT0/power_now", "12000000\n");
    put("count", "1\n");
    put("0", "5000\n");
    assert_watts(12, 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        TEST(zones_are_summed_and_wrap),
        TEST(absurd_counters_are_not_believed),
        TEST(files_that_are_gone_or_closed_to_us_are_not_measurable),
        TEST(without_any_counter_nothing_is_measurable),
        TEST(a_battery_that_discharges_tells_its_power),
        TEST(a_battery_may_tell_only_what_is_left),
        TEST(a_charger_makes_batteries_useless),
        TEST(batteries_stand_in_for_counters_that_cannot_be_read),
        TEST(gpus_are_added_to_the_packages),
        TEST(gpus_alone_are_said_to_be_so),
        TEST(gpus_that_do_not_tell_are_left_out),
        TEST(a_battery_feeds_the_gpu_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
