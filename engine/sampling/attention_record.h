// Which attention computed a job: kept from run to run, noted in the video, and used again by a replay.
#pragma once

#include <map>
#include <string>

#include "engine/base/log.h"
#include "engine/residency/device.h"
#include "kernels/op/policy.h"

namespace wan {

/// Case name -> back end, as a record has it.
using AttentionChoices = std::map<std::string, std::string>;

/// Choices are measured once for each card and shape, and kept in the user's cache folder. Nothing on the CPU, which
/// has one attention. Warns where this build holds no kernels for the card.
void remember_attention(const Placement& placement, const Log& log);
/// Case name -> back end, of what has been used so far, and the instructions of 8-bit products where they are wgmma
/// (kernels/op/policy.h); empty on the CPU.
std::map<std::string, std::string> attention_choices(const Placement& placement);
/// Uses these where they pass their check. Throws c10::Error for a back end that this build does not have.
void pin_attention(const Placement& placement, const std::map<std::string, std::string>& choices);
/// Which instructions 8-bit products are to use for these choices, where `now` is in force: those that were noted, or
/// were not; `now` without any choice, and where nobody may use wgmma.
kernels::Wgmma wgmma_of(const std::map<std::string, std::string>& choices, kernels::Wgmma now);
/// One line for each choice, with its reason.
void log_attention(const Placement& placement, const Log& log);

}  // namespace wan
