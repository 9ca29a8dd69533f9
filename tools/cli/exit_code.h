// Kinds of failure to exit codes: the one place that knows them.
#pragma once

#include "tools/cli/command_line.h"

namespace wan {

/// Carries out the command of the command line by `run`, which returns the exit code of one that was carried out. What it
/// throws is told on stderr: 2 for a wrong request, 3 for files of a model, 5 for
/// what a safety check refused, 128 and the signal for an interrupt, else 1.
/// 141 without a word where stdout was closed by its reader.
int exit_code(int argc, char** argv, int (*run)(const Command&));

}  // namespace wan
