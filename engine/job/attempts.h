// A stage on a device that may run out of memory, or be lost: done again with less on it, or ended in one line.
#pragma once

#include <functional>
#include <string>

namespace wan {

/// Whose stage it is and what is done where it fails. All are set; they are asked when it has failed.
struct Attempts {
  std::string stage;                          // "decode": in messages
  std::string kept;                           // what stays where it ends: "finished steps are kept"
  std::function<std::string()> device;        // "cuda:0"
  std::function<bool()> answers;              // whether the device can still compute (engine/residency/failure.h)
  std::function<bool(bool first)> make_room;  // Networks::make_room
  std::string less = "fewer frames or a smaller size need less";  // what the user can do
};

/// Runs `work`. Where the device runs out of memory it is run again with less on the device, until there is nothing left
/// to give up: then std::runtime_error says so. Throws DeviceLost where the device can compute nothing more; other
/// exceptions pass.
void attempt(const Attempts& attempts, const std::function<void()>& work);

}  // namespace wan
