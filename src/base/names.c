/* What the values of the public enums are called. */
#include "base/names.h"

const char *mobiedit_status_name(mobiedit_status status) {
    switch (status) {
    case MOBIEDIT_OK:
        return "ok";
    case MOBIEDIT_E_ARGUMENT:
        return "argument";
    case MOBIEDIT_E_IO:
        return "io";
    case MOBIEDIT_E_FORMAT:
        return "format";
    case MOBIEDIT_E_UNSUPPORTED:
        return "unsupported";
    case MOBIEDIT_E_MISMATCH:
        return "mismatch";
    case MOBIEDIT_E_MEMORY:
        return "memory";
    case MOBIEDIT_E_NOT_SOLVED:
        return "not solved";
    case MOBIEDIT_E_NOT_VERIFIED:
        return "not verified";
    case MOBIEDIT_E_CANCELLED:
        return "cancelled";
    case MOBIEDIT_E_RUNTIME:
        return "runtime";
    }
    return "unknown";
}

const char *mobiedit_stop_name(mobiedit_stop stop) {
    switch (stop) {
    case MOBIEDIT_STOP_SOLVED:
        return "solved";
    case MOBIEDIT_STOP_NO_PROGRESS:
        return "no progress";
    case MOBIEDIT_STOP_BUDGET:
        return "budget";
    case MOBIEDIT_STOP_ALREADY_SAID:
        return "already said";
    }
    return "unknown";
}

const char *mobiedit_calibration_name(mobiedit_calibration_state state) {
    switch (state) {
    case MOBIEDIT_CALIBRATION_NONE:
        return "none";
    case MOBIEDIT_CALIBRATION_UNFINISHED:
        return "unfinished";
    case MOBIEDIT_CALIBRATION_WHOLE:
        return "whole";
    }
    return "unknown";
}

const char *mobiedit_record_state_name(mobiedit_record_state state) {
    static const char *const names[] = {[MOBIEDIT_RECORD_ACTIVE] = "active",
                                        [MOBIEDIT_RECORD_UNDONE] = "undone",
                                        [MOBIEDIT_RECORD_SUPERSEDED] = "superseded"};
    return (size_t)state < sizeof names / sizeof names[0] ? names[state] : "unknown";
}

const char *me_said_kind_name(mobiedit_said_kind kind) {
    static const char *const names[ME_SAID_KINDS] = {[MOBIEDIT_SAID_PROMPT] = "prompt",
                                                     [MOBIEDIT_SAID_PARAPHRASE] = "paraphrase",
                                                     [MOBIEDIT_SAID_NEIGHBOUR] = "neighbour",
                                                     [MOBIEDIT_SAID_PORTABILITY] = "portability",
                                                     [MOBIEDIT_SAID_SAME_SUBJECT] = "same subject",
                                                     [MOBIEDIT_SAID_CHAT] = "chat",
                                                     [MOBIEDIT_SAID_CHAT_SYSTEM] = "chat, system prompt",
                                                     [MOBIEDIT_SAID_CHAT_TURN] = "chat, second turn",
                                                     [MOBIEDIT_SAID_CHAT_NEIGHBOUR] = "chat neighbour",
                                                     [MOBIEDIT_SAID_TELL] = "tell",
                                                     [MOBIEDIT_SAID_TRUE_NEW] = "true, new",
                                                     [MOBIEDIT_SAID_TRUE_OLD] = "true, old"};
    return (size_t)kind < ME_SAID_KINDS ? names[kind] : "unknown";
}
