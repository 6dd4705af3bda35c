/* mobiedit completion: what shells complete, from the commands' own tables of options. The build makes the
 * installed files with it. */
#include "options.h"

#include <stdio.h>
#include <string.h>

/* ---- bash -------------------------------------------------------------------------------------------- */

static const char *dashes(const option_row *row) {
    return row->one_dash ? "-" : "--";
}

static void print_word(void *user, const option_row *row) {
    const bool *with_value = user;
    if (*with_value && !row->value) return;
    (void)printf(" %s%s", dashes(row), row->name);
    if (row->letter) (void)printf(" -%c", row->letter);
}

static void print_words(const command *c, bool with_value) {
    options_each(c, print_word, &with_value);
}

/* The words of a command in two variables: all its options, and those that a value follows. */
static void print_bash(void) {
    (void)puts(
        "# bash completion for mobiedit\n"
        "_mobiedit() {\n"
        "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} options valued\n"
        "    COMPREPLY=()\n"
        "    case ${COMP_WORDS[1]} in");
    for (const command *const *c = commands; *c; c++) {
        (void)printf("    %s)\n        options=\"", (*c)->name);
        print_words(*c, false);
        (void)fputs(" \"\n        valued=\"", stdout);
        print_words(*c, true);
        (void)puts(" \"\n        ;;");
    }
    (void)fputs("    esac\n"
                "    if ((COMP_CWORD == 1)); then\n"
                "        COMPREPLY=($(compgen -W \"--help --version",
                stdout);
    for (const command *const *c = commands; *c; c++)
        (void)printf(" %s", (*c)->name);
    (void)fputs("\" -- \"$current\"))\n"
                "    elif [[ $previous == --solver ]]; then\n"
                "        COMPREPLY=($(compgen -W \"",
                stdout);
    for (const char *const *solver = mobiedit_solvers(); *solver; solver++)
        (void)printf("%s ", *solver);
    (void)puts("\" -- \"$current\"))\n"
               "    elif [[ $valued == *\" $previous \"* ]]; then\n"
               "        return # a file, or what only the user knows\n"
               "    elif [[ $current == -* ]]; then\n"
               "        COMPREPLY=($(compgen -W \"$options\" -- \"$current\"))\n"
               "    fi\n"
               "}\n"
               "complete -o default -F _mobiedit mobiedit");
}

/* ---- zsh --------------------------------------------------------------------------------------------- */

/* Text inside single quotes and brackets, where both of these and colons mean something. */
static void print_quoted(const char *text) {
    for (; *text; text++) {
        if (*text == '\'') {
            (void)fputs("'\\''", stdout);
            continue;
        }
        if (strchr("[]:\\", *text)) (void)putchar('\\');
        (void)putchar(*text);
    }
}

/* What may follow an option. */
static void print_zsh_value(const option_row *row) {
    (void)putchar(':');
    print_quoted(row->value);
    (void)putchar(':');
    if (row->file != FILE_NONE) (void)fputs("_files", stdout);
    if (strcmp(row->name, "solver") != 0) return;
    (void)putchar('(');
    for (const char *const *solver = mobiedit_solvers(); *solver; solver++)
        (void)printf("%s%s", solver == mobiedit_solvers() ? "" : " ", *solver);
    (void)putchar(')');
}

static void print_zsh_form(const option_row *row, const char *start, const char *name) {
    (void)printf(" \\\n            '*%s%s[", start, name);
    print_quoted(row->help);
    (void)putchar(']');
    if (row->value) print_zsh_value(row);
    (void)putchar('\'');
}

static void print_zsh_row(void *user, const option_row *row) {
    const char letter[2] = {row->letter, '\0'};
    (void)user;
    print_zsh_form(row, dashes(row), row->name);
    if (row->letter) print_zsh_form(row, "-", letter);
}

static void print_zsh(void) {
    (void)puts("#compdef mobiedit\n"
               "_mobiedit() {\n"
               "    local -a commands\n"
               "    commands=(");
    for (const command *const *c = commands; *c; c++) {
        (void)printf("        '%s:", (*c)->name);
        print_quoted((*c)->summary);
        (void)puts("'");
    }
    (void)puts("    )\n"
               "    if ((CURRENT == 2)); then\n"
               "        _describe command commands\n"
               "        return\n"
               "    fi\n"
               "    shift words\n"
               "    ((CURRENT--))\n"
               "    case $words[1] in");
    for (const command *const *c = commands; *c; c++) {
        (void)printf("    %s)\n        _arguments", (*c)->name);
        options_each(*c, print_zsh_row, NULL);
        (void)puts(" \\\n            '*:file:_files'\n        ;;");
    }
    (void)puts("    esac\n"
               "}\n"
               "_mobiedit \"$@\"");
}

static int run(const options *o) {
    const char *shell = o->positional[0];
    if (strcmp(shell, "bash") == 0)
        print_bash();
    else if (strcmp(shell, "zsh") == 0)
        print_zsh();
    else
        return complain(STATUS_USAGE, "usage: mobiedit completion %s", command_completion.usage);
    return STATUS_DONE;
}

const command command_completion = {.name = "completion",
                                    .usage = "bash|zsh",
                                    .summary = "prints a shell's completion file",
                                    .arguments = {{"bash|zsh", FILE_NONE}},
                                    .run = run};
