// The networks of many jobs, and of many runs: one group's at a time are loaded.
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

  /// A run begins. Networks that an earlier one loaded stay where their files are the same as then: those of a model that
  /// was replaced go, so do those that gave memory up. Forgets all models but the loaded one.
  void begin_run();
  /// Lets the networks go where those of this request and placement are others: memory is looked at after that. Returns
  /// whether any went. Throws ModelError.
  bool make_way(const Request& request, const Placement& placement);
  /// The group that a job of this request and placement belongs to: the same files, device, dtype, precision, form of
  /// weights and limit by the user. Throws ModelError.
  Group& group_of(const Request& request, const Placement& placement);
  std::list<Group>& groups() { return groups_; }
  /// The LoRAs of a request on the transformers of its group; their files are opened, looked at once for numbers that
  /// are not finite, and told in the log. Throws ModelError and InvalidRequest.
  std::shared_ptr<const UsedLoras> loras_of(const Request& request, const Group& group);

  /// The interpolator of a request that draws frames; its file is opened and looked at. One without a file for others.
  /// Throws ModelError.
  std::shared_ptr<const UsedInterpolator> interpolator_of(const Request& request);

  /// The safety checker of a request that looks at pictures; its files are opened and read. `contexts`: of the kernels,
  /// or null. One that is not there for others. Throws ModelError.
  std::shared_ptr<const UsedSafety> safety_of(const Request& request, Contexts* contexts = nullptr);

  /// The networks of the job's group, planned for its activations; those of another group go first.
  Networks& of(const Job& job);
  /// Networks::ask of those that are loaded, and of all that will be.
  void ask(std::function<void()> check);
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
  /// Whether all transformers of a model are there and stay: a later job of it loads none.
  bool keeps_transformers() const { return networks_ && networks_->keeps_transformers(); }
  /// How often an expert was brought in, by all groups.
  int64_t expert_loads() const;

 private:
  const ModelParts& parts_of(const Request& request);
  /// Null where there is none yet.
  Group* find_group(const Request& request, const Placement& placement);

  const Log log_;
  const lora::Reading reading_;
  std::function<void()> check_;
  std::map<std::string, ModelParts> found_;  // by the values of the request that name a model
  std::list<Group> groups_;
  std::map<std::pair<const Group*, std::string>, std::shared_ptr<const UsedLoras>> loras_;
  std::map<std::string, std::shared_ptr<const UsedInterpolator>> interpolators_;  // by model and path
  std::map<std::string, std::shared_ptr<const UsedSafety>> checkers_;             // by path
  std::optional<Networks> networks_;
  std::optional<TextStates> text_;
  Group* loaded_ = nullptr;
  int64_t earlier_loads_ = 0;  // of groups that have gone
};

}  // namespace wan
