// Which attention computed a job: kept from run to run, noted in the video, and used again by a replay.
#pragma once

#include <map>
#include <string>

#include "engine/device.h"
#include "engine/log.h"

namespace wan {

/// Choices are measured once for each card and shape, and kept in the user's cache folder. Nothing on the CPU, which
/// has one attention. Warns where this build holds no kernels for the card.
void remember_attention(const Target& target, const Log& log);
/// Case name -> back end, of what has been used so far; empty on the CPU.
std::map<std::string, std::string> attention_choices(const Target& target);
/// Uses these where they pass their check. Throws c10::Error for a back end that this build does not have.
void pin_attention(const Target& target, const std::map<std::string, std::string>& choices);
/// One line for each choice, with its reason.
void log_attention(const Target& target, const Log& log);

}  // namespace wan
