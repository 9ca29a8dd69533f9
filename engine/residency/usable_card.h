// Whether a CUDA device that a request asks for can be used, and what a user reads where it cannot: an old driver or
// card, a container without its devices, CUDA_VISIBLE_DEVICES that hides them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/request/known_cards.h"
#include "engine/residency/device.h"

namespace wan {

/// What decides about cards on this machine.
struct CardSituation {
  bool built = false;                       // libtorch's CUDA part is linked
  int64_t usable = 0;                       // devices that CUDA shows
  bool has_driver = false;                  // NVIDIA's, of Linux or of Windows below WSL2
  std::string driver = {};                  // its version where it tells one: "535.104.05"
  std::optional<std::string> visible = {};  // CUDA_VISIBLE_DEVICES, where it is set
  // Where CUDA shows no device:
  std::vector<std::string> shut = {};  // device files that this user may not open: "/dev/nvidia0"
  bool lacks_files = false;            // there is no device file of any card
  // Files of slices (MIG) that this user cannot read, "/dev/nvidia-caps/nvidia-cap12"; " (not there)" behind absent ones.
  std::vector<std::string> shut_slices = {};
};
/// Of this machine and this process. `root` stands for "/".
CardSituation card_situation(const std::filesystem::path& root = "/");

/// Why the device that was asked for ("auto", "cuda", "cuda:1") cannot be had, as the rest of a message that begins
/// with its field; nothing where it can. `auto` takes the CPU where there is no driver, where the build has no CUDA
/// part, and where CUDA_VISIBLE_DEVICES hides every card. Where a card should be usable and is not it is refused, too:
/// a 14B model would compute for days.
std::optional<std::string> why_no_card(const std::string& asked, const CardSituation& situation);

/// The same of a card with this compute capability (89 is 8.9; 0: not known): below 7.5 libtorch holds no code for it.
std::optional<std::string> why_too_old(int architecture);

/// Which card is taken where a request names none by its number, of those with these compute capabilities (89 is 8.9; 0:
/// not known): the first that our kernels run on, else the first that libtorch has code for, else the first.
int64_t chosen_card(const std::vector<int>& architectures);
/// Of a request that names no number (`asked`: "auto", "cuda") where there are several cards: which is taken, and how
/// another is. `names` as the driver has them; empty ones are not known.
std::optional<std::string> card_note(const std::string& asked, int64_t taken, const std::vector<std::string>& names);
/// Logs it. Nothing on the CPU.
void tell_card(const std::string& asked, const Placement& placement, const Log& log);

/// What a user should know who chose a precision that is slower than `exact` on such a card.
std::optional<std::string> precision_warning(Precision precision, int architecture, bool uses_wgmma);
/// Logs it for the placement's device. Nothing on the CPU.
void warn_of_precision(const Placement& placement, const Log& log);

/// The part of a card that a slice of it has, by the name that the driver gives: 1/7 of "NVIDIA H100 80GB HBM3 MIG
/// 1g.10gb", 1 of a whole card.
double mig_share(const std::string& name);
/// That part of a card's arithmetic and of its memory's rate; the link is shared by whoever uses it.
Card slice_of(Card card, double share);

}  // namespace wan
