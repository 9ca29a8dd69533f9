#include "engine/job/network_pool.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/request/interpolation.h"
#include "engine/request/params.h"
#include "engine/residency/find_parts.h"
#include "engine/residency/interpolator_network.h"
#include "engine/residency/model_check.h"
#include "engine/residency/unchanged.h"
#include "engine/residency/usable_card.h"
#include "engine/sampling/attention_record.h"
#include "models/files/error.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

/// Whether two models are the same files, links followed.
bool is_same(const ModelParts& a, const ModelParts& b) {
  const auto equal = [](const auto& one, const auto& other) {
    return one.first == other.first && fs::equivalent(one.second.path, other.second.path);
  };
  return std::equal(a.networks.begin(), a.networks.end(), b.networks.begin(), b.networks.end(), equal) &&
         fs::equivalent(a.tokenizer.path, b.tokenizer.path);
}

/// What is free may change from job to job; what a user allows is meant for each, also where less is free: the VAE's
/// tiles follow from it, and more may be given back.
bool have_one_limit(const Placement& a, const Placement& b) {
  return a.allowed == b.allowed;
}

/// Whether all files that were identified are there as they were then.
bool is_unchanged(const ModelParts& parts) {
  std::set<std::string> fields;
  for (const auto& [path, seen] : parts.seen) fields.insert(seen.part);
  try {
    for (const std::string& field : fields) check_unchanged(parts, field);
  } catch (const ModelError&) {
    return false;
  }
  return true;
}

/// Which file is which part, and why.
void log_parts(const ModelParts& parts, const Log& log) {
  const auto line = [&](const char* part, const ModelPart& found) {
    log("part", {{"part", part}, {"name", shown_text(found.name)}, {"rule", found.rule}});
  };
  for (const auto& [network, part] : parts.networks) line(name(network), part);
  line("tokenizer", parts.tokenizer);
}

}  // namespace

void NetworkPool::begin_run() {
  found_.clear();  // a folder may hold other files by now
  text_.reset();
  if (loaded_ && !is_unchanged(loaded_->parts)) {
    log_("note", {{"subject", "model"}, {"text", "its files are others than before: they are loaded anew"}});
    drop();
  }
  if (loaded_ && networks_->has_given_up()) drop();
  std::erase_if(loras_, [&](const auto& known) {
    return known.first.first != loaded_ || !known.second || !is_unchanged(known.second->parts);
  });
  std::erase_if(interpolators_, [](const auto& known) { return !known.second || !is_unchanged(known.second->parts); });
  std::erase_if(checkers_, [](const auto& known) { return !known.second || !is_unchanged(known.second->parts); });
  groups_.remove_if([&](const Group& group) { return &group != loaded_; });
  if (!loaded_) return;
  loaded_->activations = {};
  if (loaded_->placement.budget) loaded_->placement.budget->look_again(0);
}

bool NetworkPool::make_way(const Request& request, const Placement& placement) {
  if (!loaded_ || find_group(request, placement) == loaded_) return false;
  drop();
  return true;
}

void NetworkPool::ask(std::function<void()> check) {
  check_ = std::move(check);
  if (networks_) networks_->ask(check_);
}

/// Many jobs of one model look for it once.
const ModelParts& NetworkPool::parts_of(const Request& request) {
  nlohmann::json key = {task_name(request.task), request.model,       request.models,       request.high_noise,
                        request.low_noise,       request.transformer, request.text_encoder, request.vae,
                        request.audio_encoder,   request.tokenizer,   request.loras,        request.interpolator};
  if (const Interpolation how = interpolation_of(request); how.is_on()) key.push_back(how.model);
  key.push_back({request.safety_checker, request.enable_safety_checker, request.enable_output_safety_checker,
                 request.blocked_words.empty()});
  const std::string text = key.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  const auto known = found_.find(text);
  return known != found_.end() ? known->second : found_.emplace(text, find_parts(request)).first->second;
}

Group* NetworkPool::find_group(const Request& request, const Placement& placement) {
  const ModelParts& parts = parts_of(request);
  for (Group& group : groups_)
    if (is_same(group.parts, parts) && group.placement.device == placement.device &&
        group.placement.dtype == placement.dtype && group.placement.precision == placement.precision &&
        group.placement.weights == placement.weights && group.placement.cache_dir == placement.cache_dir &&
        have_one_limit(group.placement, placement))
      return &group;
  return nullptr;
}

Group& NetworkPool::group_of(const Request& request, const Placement& placement) {
  if (Group* known = find_group(request, placement)) return *known;
  ModelParts model = parts_of(request);
  model.loras.clear();  // networks stay where the LoRAs change, the interpolator or the safety checker
  model.interpolator = {};
  model.safety_checker = {};
  log_parts(model, log_);
  check_model(model);
  std::vector<FileIdentity> files = identities(model);
  check_experts_differ(files);
  Group group{model, placement, std::move(files)};
  remember(group.parts, group.files);
  return groups_.emplace_back(std::move(group));
}

std::shared_ptr<const UsedLoras> NetworkPool::loras_of(const Request& request, const Group& group) {
  if (request.loras.empty()) return std::make_shared<const UsedLoras>();
  const nlohmann::json key = {task_name(request.task), request.loras, request.lora_lax};
  std::shared_ptr<const UsedLoras>& known =
      loras_[{&group, key.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)}];
  if (known) return known;
  ModelParts parts = group.parts;
  parts.loras = lora_parts(request);
  UsedLoras used{Loras(request, parts), {}, {}};
  IdentityCache cache;
  used.parts.loras = parts.loras;
  std::vector<PartFile> files = parts.files();
  std::erase_if(files, [](const PartFile& file) { return file.part != kLoraPart; });
  used.files = identify(files, cache);
  remember(used.parts, files, used.files);
  check_unchanged(used.parts, kLoraPart);
  used.loras.check_finite(reading_);
  used.loras.tell(log_);
  return known = std::make_shared<const UsedLoras>(std::move(used));
}

std::shared_ptr<const UsedInterpolator> NetworkPool::interpolator_of(const Request& request) {
  if (!interpolation_of(request).is_on()) return std::make_shared<const UsedInterpolator>();
  const InterpolatorPart& part = parts_of(request).interpolator;
  std::shared_ptr<const UsedInterpolator>& known = interpolators_[part.model + " " + part.file.path.string()];
  if (known) return known;
  log_("part", {{"part", part.model}, {"name", shown_text(part.file.name)}, {"rule", part.file.rule}});
  UsedInterpolator used{part, {}, {}};
  used.parts.interpolator = part;
  IdentityCache cache;
  std::vector<PartFile> files = used.parts.files();
  used.files = identify(files, cache);
  remember(used.parts, files, used.files);
  check_interpolator(part);
  check_unchanged(used.parts, kInterpolatorPart);
  return known = std::make_shared<const UsedInterpolator>(std::move(used));
}

std::shared_ptr<const UsedSafety> NetworkPool::safety_of(const Request& request, Contexts* contexts) {
  if (!request.enable_safety_checker && !request.enable_output_safety_checker)
    return std::make_shared<const UsedSafety>();
  const ModelPart& part = parts_of(request).safety_checker;
  if (part.path.empty()) return std::make_shared<const UsedSafety>();
  std::shared_ptr<const UsedSafety>& known = checkers_[part.path.string()];
  if (known) return known;
  log_("part", {{"part", kSafetyPart}, {"name", shown_text(part.name)}, {"rule", part.rule}});
  return known = open_safety(part, cpu_placement(request, contexts));
}

Networks& NetworkPool::of(const Job& job) {
  if (loaded_ != job.group) {
    drop();
    warn_of_kernels(*job.placement.context, log_);
    warn_of_cudnn(job.placement, log_);
    warn_of_precision(job.placement, log_);
    tell_card(job.request.device, job.placement, log_);
    networks_.emplace(job.group->parts, job.group->placement, job.group->activations, log_);
    networks_->ask(check_);
    loaded_ = job.group;
  }
  networks_->plan_for(loaded_->activations);
  return *networks_;
}

at::Tensor NetworkPool::text(const Job& job, const std::string& prompt) {
  Networks& networks = of(job);
  if (!text_) text_.emplace(networks);
  return (*text_)(prompt);
}

void NetworkPool::drop() {
  text_.reset();
  if (!networks_) return;
  log_attention(*loaded_->placement.context, log_);
  earlier_loads_ = expert_loads();
  const Copied copied = networks_->copied();
  networks_.reset();
  if (const auto& budget = loaded_->placement.budget)
    log_("device", {{"limit_bytes", budget->limit()},
                    {"peak_bytes", budget->peak()},
                    {"left_bytes", budget->used()},
                    {"copies", copied.jobs},
                    {"copied_bytes", copied.bytes}});
  release_cached(loaded_->placement.device);
  loaded_ = nullptr;
}

uint64_t NetworkPool::peak_since_asked() {
  return loaded_ && loaded_->placement.budget ? loaded_->placement.budget->peak_since_asked() : 0;
}

void NetworkPool::look_again() {
  if (networks_) networks_->look_again();
}

bool NetworkPool::make_room(bool first) {
  text_.reset();
  if (networks_ && networks_->make_room(first)) return true;
  drop();
  return false;
}

int64_t NetworkPool::expert_loads() const {
  return earlier_loads_ + (networks_ ? networks_->expert_loads() : 0);
}

}  // namespace wan
