// The one table about the values of a request: flags, manifests, metadata, --help and range errors are read from it.
// Source of the endpoint's ranges and defaults: the hosted endpoints' pages; of the reference's: wan/configs.
#pragma once

#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/request/request.h"

namespace wan {

/// Numbers that are accepted; both ends belong to it unless `above` leaves `least` out or `below` leaves `most` out.
/// Multiples of `step`, from 0.
struct Range {
  double least = -std::numeric_limits<double>::infinity(), most = std::numeric_limits<double>::infinity();
  int64_t step = 1;
  bool above = false, below = false;

  bool contains(double value) const;
  /// "from 17 to 121 frames", "above 0, at most 1000", "from 0, below 1", "from 40 to 120 frames, a multiple of 4".
  std::string text(const std::string& unit = "") const;
};

/// What one task takes for a parameter.
struct Accepts {
  nlohmann::json value = nullptr;       // the default; null where there is none. A preset may have another (presets.h)
  Range hosted = {};                    // the endpoint's
  Range engine = {};                    // what the mathematics allows: --unlocked, --preset reference
  std::vector<std::string> words = {};  // the choices, where it is a choice
  bool from_input = false;              // unset, it follows the input's length; `value` is only where to start
};

using Field = std::variant<std::string Request::*, int64_t Request::*, uint64_t Request::*, double Request::*,
                           bool Request::*, std::vector<double> Request::*, std::vector<Lora> Request::*>;

/// A LoRA in JSON, as manifests and metadata have it: {"path": "a.safetensors", "scale": 1 or [1, 0.5], "transformer":
/// "high"}, of which the last is left out where it is empty.
void to_json(nlohmann::json& json, const Lora& lora);
void to_json(nlohmann::ordered_json& json, const Lora& lora);
/// Throws nlohmann::json::exception for other JSON.
void from_json(const nlohmann::json& json, Lora& lora);

struct Parameter {
  const char* name = "";  // the endpoints' field name
  Field field = {};
  std::map<Task, Accepts> tasks = {};  // a task that is not listed does not take it
  const char* group = "";              // heading in --help
  const char* unit = "";
  const char* help = "";
  const char* metavar = "";           // what stands for the value in --help
  bool required = false;              // must come, though it may be an empty text
  bool nullable = false;              // null means unset
  bool empty_is_unset = false;        // an empty text takes the default
  bool path = false;                  // a file or folder: never empty, relative ones start at the manifest
  bool media = false;                 // a path that is read, or an http(s) or data URL
  bool content = false;               // a path of a file of settings, told by its content as media are
  bool named = false;                 // a path, or a name without a slash that is no path
  bool part = false;                  // a path of one part of a model
  bool repeated = false;              // the flag may come several times, one value each
  bool numbered = false;              // the word cuda may carry a device number: cuda:1
  bool stored = true;                 // part of a video's metadata
  bool Request::*given = nullptr;     // notes whether it came
  const char* unserved = nullptr;     // why every value but the default is refused in this build
  const char* switched_by = nullptr;  // with this field at its default by the user's own word, the value is idle

  /// Whether what the file holds decides the video, and not what it is called.
  bool is_told_by_content() const { return media || content; }
  /// Null where the task does not take it.
  const Accepts* accepts(Task task) const;
  /// The command-line flag: num_frames is --num-frames, image_url is --image (of media alone: expander_url is
  /// --expander-url), loras is --lora.
  std::string flag() const;
};

/// All of them, in the order of --help, errors and metadata.
const std::vector<Parameter>& parameters();
/// By the endpoints' name; null where no task knows it.
const Parameter* find_parameter(const std::string& name);

/// "t2v", "i2v", "v2v", "s2v".
const char* task_name(Task task);
std::optional<Task> task_named(const std::string& name);
inline constexpr Task kTasks[] = {Task::T2V, Task::I2V, Task::V2V, Task::S2V};

/// 0.875, 81, 2^63 - 1: the shortest text of a number.
std::string number_text(double value);

}  // namespace wan
