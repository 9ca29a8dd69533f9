// Times of attention's back ends, kept from run to run, and what the log says of the choice among them. What computed a
// job is noted in its video and pinned by a replay: kernels::Context::choices and pin.
#pragma once

#include <filesystem>

#include "engine/base/log.h"
#include "kernels/attention/selector.h"
#include "kernels/op/context.h"

namespace wan {

/// Case name -> back end, as a record has it.
using AttentionChoices = kernels::Choices;

/// Memory in this JSON file, for this version of the program only; "" is none. Written whole or not at all: other
/// processes may read and write it at the same time; cases of all of them stay, and of one case the last one wins. A
/// file that is missing, damaged or of another schema counts as empty, and one that cannot be written is left alone:
/// either costs a measurement, no error.
kernels::AttentionMemory attention_file(std::filesystem::path file);

/// Warns where this build holds no kernels for the Context's GPU. Nothing on the CPU.
void warn_of_kernels(const kernels::Context& context, const Log& log);

/// One line for each choice, with its reason.
void log_attention(const kernels::Context& context, const Log& log);

}  // namespace wan
