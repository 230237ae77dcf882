// SPDX-License-Identifier: MIT
// Two small scripts. -I keeps the application's folder and PYTHONPATH's sitecustomize out; folders
// with libraries that an application would see are put back by hand.
#include "doctor/interpreter.h"

#include "export/guard.h"

#include <stdlib.h>

#define COMMON                                                                                     \
    "import os, sys\n"                                                                             \
    "def say(*words):\n"                                                                           \
    "    clean = lambda word: ''.join(c if c.isprintable() else '?' for c in str(word))\n"         \
    "    line = '\\t'.join(clean(word) for word in words) + '\\n'\n"                               \
    "    sys.stdout.buffer.write(line.encode('utf-8', 'replace'))\n"                               \
    "    sys.stdout.buffer.flush()\n"                                                              \
    "def extend():\n"                                                                              \
    "    import site\n"                                                                            \
    "    folders = [f for f in os.environ.get('PYTHONPATH', '').split(os.pathsep) if f]\n"         \
    "    sys.path[:0] = [os.path.abspath(f) for f in folders]\n"                                   \
    "    if sys.prefix == sys.base_prefix and not os.environ.get('PYTHONNOUSERSITE'):\n"           \
    "        sys.path.append(site.getusersitepackages())\n"

const char faa_interpreter_facts[] =
    COMMON "say('version', '%d.%d.%d' % sys.version_info[:3])\n"
           "say('implementation', sys.implementation.name)\n"
           "import sysconfig\n"
           "say('free_threaded', int(bool(sysconfig.get_config_var('Py_GIL_DISABLED'))))\n"
           "say('prefix', sys.prefix)\n"
           "say('virtual', int(sys.prefix != sys.base_prefix))\n"
           "extend()\n"
           "if sys.version_info >= (3, 8):\n"
           "    import importlib.metadata, importlib.util\n"
           "    def version(name):\n"
           "        for one in (name, name + '-binary', name + '-c'):\n"
           "            try:\n"
           "                return importlib.metadata.version(one)\n"
           "            except Exception:\n"
           "                pass\n"
           "        return ''\n"
           "    for name in sys.argv[1:]:\n"
           "        try:\n"
           "            found = importlib.util.find_spec(name) is not None\n"
           "        except Exception:\n"
           "            found = name in sys.modules\n"
           "        if found:\n"
           "            say('module', name, version(name))\n"
           "say('end')\n";

const char faa_interpreter_imports[] =
    COMMON "extend()\n"
           "import importlib\n"
           "say('started')\n"
           "for name in sys.argv[1:]:\n"
           "    try:\n"
           "        importlib.import_module(name)\n"
           "        say('imported', name)\n"
           "    except BaseException as e:\n"
           "        say('failed', name, type(e).__name__ + ': ' + str(e)[:150])\n"
           "say('end')\n"
           "os._exit(0)\n"; // What the modules leave behind them is not waited for.

int faa_interpreter_run(struct faa_doctor *doctor, const char *script, const char *const *modules,
                        const char *preload, unsigned limit_ms)
{
    static char isolated[] = "-I", command[] = "-c";
    char *argv[4 + FAA_LIBRARIES_MAX + 1], *text = strdup(script), *python = strdup(doctor->python);
    size_t n = 0;
    int rc = -1;
    argv[n++] = python;
    argv[n++] = isolated;
    argv[n++] = command;
    argv[n++] = text;
    for (size_t i = 0; modules[i] && i < FAA_LIBRARIES_MAX; i++)
        argv[n++] = (char *)(size_t)modules[i]; // exec does not write to it.
    argv[n] = NULL;
    struct faa_child *child = &doctor->child;
    *child = (struct faa_child){
        .argv = argv,
        .limit_ms = limit_ms,
        .status = -1,
        .variables = {{"LD_PRELOAD", preload},
                      {"FAA_LOG_LEVEL", "debug"},
                      {"PYTHONDONTWRITEBYTECODE", "1"},
                      {FAA_GUARD_VARIABLE, NULL}},
    };
    if (python && text)
        rc = faa_child_run(child);
    child->argv = NULL;
    free(python);
    free(text);
    return rc;
}
