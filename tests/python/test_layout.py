"""What python/declare.py makes of mobiedit.h is what the C compiler makes of it, and the package leaves nothing out.

  test_layout.py PACKAGE CC LIBRARY
"""
import ctypes
import dataclasses
import enum
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from testing import scratch_folder

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEADER = ROOT / "include" / "mobiedit.h"
CC = LIBRARY = None


def structs():
    """The structs that have fields."""
    return {name: struct for name, struct in vars(_c).items()
            if isinstance(struct, type) and issubclass(struct, ctypes.Structure) and hasattr(struct, "_fields_")}


def enums():
    return [cls for cls in vars(_c).values()
            if isinstance(cls, type) and issubclass(cls, enum.IntEnum) and cls is not enum.IntEnum]


class Layout(unittest.TestCase):
    def printed(self, lines):
        """What a C program prints whose body these lines are, as pairs of name and number."""
        folder = scratch_folder(self.addCleanup, "layout")
        source = folder / "layout.c"
        body = "\n".join(lines)
        includes = '#define MOBIEDIT_ADVANCED\n#include <stdio.h>\n#include "mobiedit.h"'
        source.write_text(f"{includes}\nint main(void) {{\n{body}\n}}\n")
        subprocess.run([CC, "-I", HEADER.parent, source, "-o", folder / "layout"], check=True)
        run = subprocess.run([folder / "layout"], check=True, capture_output=True, text=True)
        return dict(line.rsplit(" ", 1) for line in run.stdout.splitlines())

    def test_structs_have_the_compilers_sizes_and_offsets(self):
        tags = set(re.findall(r"^struct (\w+) \{", HEADER.read_text(), re.M))
        lines, ours = [], {}
        for name, struct in structs().items():
            c_name = f"struct {name}" if name in tags else name
            lines.append(f'printf("{name} %zu\\n", sizeof({c_name}));')
            ours[name] = str(ctypes.sizeof(struct))
            for field, *_ in struct._fields_:
                at = getattr(struct, field)
                lines.append(f'printf("{name}.{field} %zu\\n", offsetof({c_name}, {field}));')
                lines.append(f'printf("{name}.{field}: %zu\\n", sizeof((({c_name} *)0)->{field}));')
                ours[f"{name}.{field}"], ours[f"{name}.{field}:"] = str(at.offset), str(at.size)
        self.assertGreater(len(ours), 500)
        self.assertEqual(self.printed(lines), ours)

    def test_enums_have_the_compilers_values(self):
        text = HEADER.read_text()
        lines, ours = [], {}
        for cls in enums():
            for member in cls:
                names = re.findall(rf"\bMOBIEDIT_(?:[A-Z]+_)??{member.name}\b", text)
                self.assertTrue(names, f"{cls.__name__}.{member.name} is not in the header")
            ours[cls.__name__] = str(ctypes.sizeof(ctypes.c_int))
            c_name = "mobiedit_" + re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
            lines.append(f'printf("{cls.__name__} %zu\\n", sizeof({c_name}));')
        for name in ("MOBIEDIT_E_RUNTIME", "MOBIEDIT_STAGE_VERIFY", "MOBIEDIT_STOP_ALREADY_SAID", "MOBIEDIT_CALIBRATION_WHOLE",
                     "MOBIEDIT_RECORD_SUPERSEDED", "MOBIEDIT_FACT_REDONE", "MOBIEDIT_SAID_TRUE_OLD", "MOBIEDIT_WITHOUT_STOP"):
            lines.append(f'printf("{name} %d\\n", (int){name});')
        last = {"Status": "E_RUNTIME", "Stage": "STAGE_VERIFY", "Stop": "STOP_ALREADY_SAID",
                "CalibrationState": "CALIBRATION_WHOLE", "RecordState": "RECORD_SUPERSEDED", "FactOutcome": "FACT_REDONE",
                "SaidKind": "SAID_TRUE_OLD"}
        ours |= {f"MOBIEDIT_{last[cls.__name__]}": str(int(list(cls)[-1])) for cls in enums()}
        ours["MOBIEDIT_WITHOUT_STOP"] = str(_c.WITHOUT_STOP)
        self.assertEqual(self.printed(lines), ours)

    def test_every_function_is_declared(self):
        run = subprocess.run(["nm", "-D", "--defined-only", LIBRARY], check=True, capture_output=True, text=True)
        exported = {line.split()[-1] for line in run.stdout.splitlines() if " T " in line}

        class Recorder:
            def __init__(self):
                self.seen = {}

            def __getattr__(self, name):
                return self.seen.setdefault(name, type("Function", (), {})())

        recorder = Recorder()
        _c.declare(recorder)
        self.assertEqual(set(recorder.seen), exported)
        self.assertTrue(all(hasattr(f, "restype") and hasattr(f, "argtypes") for f in recorder.seen.values()))

    def test_dataclasses_have_all_fields(self):
        from mobiedit import results
        self.assertGreater(len(results._CLASS_OF), 20)
        for struct, cls in results._CLASS_OF.items():
            theirs = {name for name, *_ in struct._fields_ if not name.startswith("n_")}
            ours = {field.name for field in dataclasses.fields(cls)}
            self.assertLessEqual(theirs, ours, cls.__name__)

    def test_options_have_all_fields(self):
        from mobiedit.options import EditOptions
        theirs = {name for struct in (_c.mobiedit_edit_options, _c.mobiedit_edit_advanced) for name, *_ in struct._fields_}
        self.assertEqual(set(EditOptions.__annotations__), theirs - {"fix_layer", "on_progress", "user", "advanced"})

    def test_what_is_not_understood_is_no_header(self):
        folder = scratch_folder(self.addCleanup, "declare")
        for words in ("typedef struct { long double x; } mobiedit_x;", "typedef union { int x; } mobiedit_x;",
                      "MOBIEDIT_API mobiedit_unknown mobiedit_f(void);", "MOBIEDIT_API int mobiedit_f(int x"):
            header = folder / "header.h"
            header.write_text(words)
            run = subprocess.run([sys.executable, ROOT / "python" / "declare.py", header, folder / "_c.py"],
                                 capture_output=True, text=True)
            self.assertNotEqual(run.returncode, 0, words)
            self.assertNotIn("Traceback", run.stderr)
            self.assertFalse((folder / "_c.py").exists())


if __name__ == "__main__":
    sys.path.insert(0, sys.argv.pop(1))
    CC, LIBRARY = sys.argv.pop(1), sys.argv.pop(1)
    from mobiedit import _c
    unittest.main()
