// The table of parameters is written in parts, in this order: each a list of rows. Read it by parameters() (params.h).
#pragma once

#include "engine/request/params.h"

namespace wan::rows {

using Words = std::vector<std::string>;

/// What all tasks, or these, take alike.
std::map<Task, Accepts> each(const std::vector<Task>& tasks, const Accepts& accepts);
std::map<Task, Accepts> every(const Accepts& accepts);
/// Tasks whose denoising has a high-noise and a low-noise expert.
const std::vector<Task>& two_experts();

/// Preset and lock, which come first since they decide which defaults and ranges hold for the rest; then what goes in, and
/// the video's length and size.
std::vector<Parameter> of_input();
/// Noise, steps, guidance, solver.
std::vector<Parameter> of_sampling();
/// What is looked at in the finished video.
std::vector<Parameter> of_quality();
/// The file, the model, the machine, and what this build does not have.
std::vector<Parameter> of_run();
/// The language server that makes a longer prompt of a short one.
std::vector<Parameter> of_expansion();
/// What is looked at before and after, and what becomes of it.
std::vector<Parameter> of_safety();

}  // namespace wan::rows
