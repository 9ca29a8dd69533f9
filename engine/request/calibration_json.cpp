// Calibrations as files.
#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/request/calibration.h"
#include "engine/request/params.h"
#include "engine/request/schedule.h"
#include "engine/request/version.h"
#include "models/files/error.h"
#include "models/files/json.h"
#include "models/files/mapped_file.h"

namespace wan {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char *kField = "calibration", *kKind = "wan-infer calibration";
constexpr size_t kMostBytes = 4 << 20, kMostSteps = 1000;
/// A norm that changes by more from one step to the next is no trained model's.
constexpr double kMostRatio = 1e6;

[[noreturn]] void refuse(const std::string& source, const std::string& wrong) {
  throw InvalidRequest(kField, "must be a file that wan-infer calibrate wrote, and " + source + " " + wrong);
}

const char* expert_name(Task task, bool high) {
  if (task == Task::S2V) return "single";
  return high ? "high" : "low";
}

ordered_json step_json(const CalibratedStep& step, Task task) {
  ordered_json made = {{"sigma", step.sigma}, {"expert", expert_name(task, step.high)}};
  for (size_t branch = 0; branch < kBranches; ++branch)
    if (const auto& change = step.changes[branch])
      made[branch_name(branch)] = {
          {"ratio", change->ratio}, {"deviation", change->deviation}, {"cosine_distance", change->cosine_distance}};
  return made;
}

/// The members of a parsed file, with errors that name it.
class Reader {
 public:
  Reader(const json& root, const std::string& source) : root_(root), source_(source) {}

  Calibration read() const {
    if (!root_.is_object() || root_.value("kind", json()) != kKind) refuse(source_, "is something else");
    Calibration made;
    made.source = source_;
    const std::optional<Task> task = task_named(text(root_, "task"));
    if (!task) refuse(source_, "names no task that there is");
    made.task = *task;
    made.solver = text(root_, "solver");
    made.dtype = text(root_, "dtype");
    made.precision = text(root_, "precision");
    made.shift = number(root_, "shift", 0, 1e4);
    made.boundary = number(root_, "boundary", 0, 1);
    made.guidance_scale = number(root_, "guidance_scale", 0, 1e3);
    made.guidance_scale_2 = number(root_, "guidance_scale_2", 0, 1e3);
    made.width = whole(root_, "width");
    made.height = whole(root_, "height");
    made.num_frames = whole(root_, "num_frames");
    made.videos = whole(root_, "videos");
    for (const json& network : list(root_, "networks", 1, 8))
      made.networks.push_back({text(network, "part"), text(network, "name"), digits(network, "weights")});
    for (const json& step : list(root_, "steps", 1, kMostSteps)) made.steps.push_back(step_of(step, *task));
    check_order(made.steps);
    return made;
  }

 private:
  const json& member(const json& object, const char* name) const {
    const auto found = object.is_object() ? object.find(name) : object.end();
    if (!object.is_object() || found == object.end()) refuse(source_, std::string("lacks ") + name);
    return *found;
  }

  std::string text(const json& object, const char* name) const {
    const json& found = member(object, name);
    if (!found.is_string()) refuse(source_, std::string("has no text as ") + name);
    return found.get<std::string>();
  }

  std::string digits(const json& object, const char* name) const {
    const std::string found = text(object, name);
    const bool good = found.size() == 64 && found.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!good) refuse(source_, std::string("has no 64 hexadecimal digits as ") + name);
    return found;
  }

  double number(const json& object, const char* name, double least, double most) const {
    const json& found = member(object, name);
    const double value = found.is_number() ? found.get<double>() : NAN;
    if (!(value >= least && value <= most))
      refuse(source_, std::string("must have a number from ") + number_text(least) + " to " + number_text(most) +
                          " as " + name + ", has " + shown(found));
    return value;
  }

  int64_t whole(const json& object, const char* name) const {
    constexpr double kMost = 1e9;
    return int64_t(number(object, name, 0, kMost));
  }

  const json& list(const json& object, const char* name, size_t least, size_t most) const {
    const json& found = member(object, name);
    if (!found.is_array() || found.size() < least || found.size() > most)
      refuse(source_, std::string("must have a list of ") + std::to_string(least) + " to " + std::to_string(most) +
                          " as " + name);
    return found;
  }

  CalibratedStep step_of(const json& step, Task task) const {
    CalibratedStep made{.sigma = number(step, "sigma", 0, 1), .changes = {}};
    const std::string expert = text(step, "expert");
    made.high = expert != expert_name(Task::T2V, false);
    if (expert != expert_name(task, made.high))
      refuse(source_, "names no expert of " + std::string(task_name(task)) + ": " + shown(expert));
    for (size_t branch = 0; branch < kBranches; ++branch) {
      if (!step.contains(branch_name(branch))) continue;
      const json& change = step.at(branch_name(branch));
      made.changes[branch] = ResidualChange{.ratio = number(change, "ratio", 1 / kMostRatio, kMostRatio),
                                            .deviation = number(change, "deviation", 0, kMostRatio),
                                            .cosine_distance = number(change, "cosine_distance", -0.01, 2.01)};
    }
    return made;
  }

  /// Falling levels, the high-noise expert before the other, and of a branch all steps of an expert but its first or
  /// none; of the conditional one all.
  void check_order(const std::vector<CalibratedStep>& steps) const {
    for (size_t i = 1; i < steps.size(); ++i) {
      if (!(steps[i].sigma < steps[i - 1].sigma)) refuse(source_, "has noise levels that do not fall");
      if (steps[i].high && !steps[i - 1].high) refuse(source_, "has the high-noise expert behind the other");
    }
    for (size_t i = 0; i < steps.size(); ++i) {
      const bool first = i == 0 || steps[i].high != steps[i - 1].high;
      const bool alike = first || (i > 1 && steps[i - 1].high == steps[i - 2].high);
      for (size_t branch = 0; branch < kBranches; ++branch) {
        const bool there = steps[i].changes[branch].has_value();
        const bool wanted = !first && branch == kConditional;
        const bool torn = !first && alike && there != steps[i - 1].changes[branch].has_value();
        if ((first && there) || (wanted && !there) || torn)
          refuse(source_,
                 "has no ratio, or one too many, in step " + std::to_string(i) + " (" + branch_name(branch) + ")");
      }
    }
  }

  const json& root_;
  const std::string& source_;
};

}  // namespace

std::string to_text(const Calibration& calibration) {
  ordered_json networks = ordered_json::array();
  for (const CalibratedNetwork& network : calibration.networks)
    networks.push_back({{"part", network.part}, {"name", network.name}, {"weights", network.weights}});
  const ordered_json head = {{"kind", kKind},
                             {"wan_infer", version()},
                             {"task", task_name(calibration.task)},
                             {"solver", calibration.solver},
                             {"shift", calibration.shift},
                             {"boundary", calibration.boundary},
                             {"guidance_scale", calibration.guidance_scale},
                             {"guidance_scale_2", calibration.guidance_scale_2},
                             {"width", calibration.width},
                             {"height", calibration.height},
                             {"num_frames", calibration.num_frames},
                             {"dtype", calibration.dtype},
                             {"precision", calibration.precision},
                             {"videos", calibration.videos},
                             {"networks", networks}};
  // A file's name may be in no encoding at all.
  const auto dumped = [](const ordered_json& value) {
    return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  };
  std::string text = "{\n";
  for (const auto& [name, value] : head.items()) text += json(name).dump() + ": " + dumped(value) + ",\n";
  text += "\"steps\": [\n";
  for (size_t i = 0; i < calibration.steps.size(); ++i)
    text +=
        step_json(calibration.steps[i], calibration.task).dump() + (i + 1 < calibration.steps.size() ? ",\n" : "\n");
  return text + "]\n}\n";
}

Calibration parse_calibration(const std::string& text, const std::string& source) {
  try {
    const json root = parse_json(text, {.bytes = kMostBytes, .depth = 8, .values = 100'000});
    return Reader(root, source).read();
  } catch (const BrokenJson& broken) {
    refuse(source, std::string("cannot be read as JSON: ") + broken.what());
  }
}

Calibration read_calibration(const std::string& path) {
  const std::string source = shown_path(path);
  try {
    const std::shared_ptr<const MappedFile> file = MappedFile::open(path);
    if (file->bytes().size() > kMostBytes) refuse(source, "is larger than " + gigabytes(kMostBytes));
    return parse_calibration(std::string(file->bytes()), source);
  } catch (const ModelError&) {
    throw InvalidRequest(kField, "cannot be read: " + source);
  }
}

void check_task(const Calibration& calibration, Task task) {
  const auto model_of = [](Task of) { return of == Task::V2V ? Task::T2V : of; };
  if (model_of(calibration.task) == model_of(task)) return;
  throw InvalidRequest(kField, std::string("must be of ") + task_name(task) + ", and " + calibration.source +
                                   " is of " + task_name(calibration.task) + "; wan-infer calibrate " +
                                   task_name(task) + " makes one");
}

}  // namespace wan
