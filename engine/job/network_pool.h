// The networks of many jobs: one group's at a time are loaded.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <optional>

#include "engine/base/log.h"
#include "engine/job/job.h"
#include "engine/job/text_states.h"

namespace wan {

class NetworkPool {
 public:
  /// `reading`: how much of LoRAs loras_of() looks at.
  explicit NetworkPool(Log log, lora::Reading reading = lora::Reading::Whole)
      : log_(std::move(log)), reading_(reading) {}

  /// The group that a job of this request and placement belongs to: the same files, device, dtype, precision, form of
  /// weights and limit by the user. Throws ModelError.
  Group& group_of(const Request& request, const Placement& placement);
  std::list<Group>& groups() { return groups_; }
  /// The LoRAs of a request on the transformers of its group; their files are opened, looked at once for numbers that
  /// are not finite, and told in the log. Throws ModelError and InvalidRequest.
  std::shared_ptr<const UsedLoras> loras_of(const Request& request, const Group& group);

  /// The networks of the job's group; those of another group go first.
  Networks& of(const Job& job);
  /// Networks::ask of all that are loaded from now on.
  void ask(std::function<void()> check) { check_ = std::move(check); }
  /// The states of a prompt by the group's text encoder; each text is encoded once until drop_texts().
  at::Tensor text(const Job& job, const std::string& prompt);
  /// Lets the states of all prompts go, which are on the device.
  void drop_texts() { text_.reset(); }
  /// Lets all networks go.
  void drop();
  /// The most that was counted at once on the device since the last call; 0 where nothing was taken or is counted.
  uint64_t peak_since_asked();
  /// Networks::look_again of those that are loaded.
  void look_again();
  /// After c10::OutOfMemoryError, as Networks::make_room; with the last step all networks go.
  bool make_room(bool first);
  /// How often an expert was brought in, by all groups.
  int64_t expert_loads() const;

 private:
  const ModelParts& parts_of(const Request& request);

  const Log log_;
  const lora::Reading reading_;
  std::function<void()> check_;
  std::map<std::string, ModelParts> found_;  // by the values of the request that name a model
  std::list<Group> groups_;
  std::map<std::pair<const Group*, std::string>, std::shared_ptr<const UsedLoras>> loras_;
  std::optional<Networks> networks_;
  std::optional<TextStates> text_;
  const Group* loaded_ = nullptr;
  int64_t earlier_loads_ = 0;  // of groups that have gone
};

}  // namespace wan
