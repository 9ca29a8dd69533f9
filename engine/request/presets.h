// Presets: values of a request that belong together, each with the source that they are taken from.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/note.h"
#include "engine/request/request.h"

namespace wan {

/// A value that a preset has for a parameter, in the tasks that are listed.
struct PresetValue {
  const char* field;
  std::map<Task, nlohmann::json> values;
};

struct Preset {
  const char* name;
  const char* what;
  const char* source;
  std::vector<Task> tasks;
  std::vector<PresetValue> values = {};  // what is not among them has the parameter's own default
  bool engine_ranges = false;            // as with --unlocked
  /// Noise levels before the shift, times 1000, from high to low; empty: those that the solver has for so many steps.
  std::vector<double> levels = {};
  int64_t high_steps = 0;       // of `levels`: how many are the high-noise expert's
  const char* loras = nullptr;  // the flags for the LoRAs it is made for; null: it is not made for distilled models

  bool few_steps() const { return loras != nullptr; }
  /// Whether it is for distilled models, and yet has a phase with guidance, in which their LoRAs are off.
  bool guides() const;
};

/// All of them, the default one first.
const std::vector<Preset>& presets();
/// Null for another name.
const Preset* find_preset(std::string_view name);
/// Those that a task can have.
std::vector<std::string> preset_names(Task task);
/// The value of a parameter under a preset; null where it has the parameter's own default.
nlohmann::json preset_value(std::string_view preset, Task task, std::string_view field);

/// The noise levels of a preset at a shift; empty where it has none.
std::vector<double> preset_sigmas(const Preset& preset, double shift);

/// Fills what follows from a preset's levels, unless `given` (a request's fields) has sigmas or another number of
/// steps: the levels shifted by request.shift, and where `given` has no boundary, one by which the high-noise expert
/// makes as many of them as the preset says, whatever the shift.
void settle_levels(const nlohmann::json& given, Request& request);

/// What of a preset for few steps is not as it says: one note for each value that was given beside it, and one
/// where a boundary gives the high-noise expert another number of steps.
std::vector<Note> preset_notes(const Request& request);

}  // namespace wan
