#include "engine/job/network_pool.h"

#include <filesystem>

#include "engine/residency/model_check.h"
#include "engine/sampling/attention_record.h"

namespace wan {

namespace {

namespace fs = std::filesystem;

/// Whether two folders name the same files, links followed.
bool is_same(const ModelFolder& a, const ModelFolder& b) {
  for (const auto part : {&ModelFolder::high_noise, &ModelFolder::low_noise, &ModelFolder::text_encoder,
                          &ModelFolder::vae, &ModelFolder::audio_encoder}) {
    if ((a.*part).empty() != (b.*part).empty()) return false;
    if (!(a.*part).empty() && !fs::equivalent(a.*part, b.*part)) return false;
  }
  return true;
}

}  // namespace

Group& NetworkPool::group_of(const Request& request, const Placement& placement) {
  ModelFolder folder = open_model_folder(request.model, request.task);
  for (Group& group : groups_)
    if (is_same(group.folder, folder) && group.placement.device == placement.device &&
        group.placement.dtype == placement.dtype && group.placement.precision == placement.precision &&
        group.placement.weights == placement.weights)
      return group;
  check_model(folder);
  std::vector<FileIdentity> files = identities(folder);
  return groups_.emplace_back(Group{std::move(folder), placement, std::move(files)});
}

Networks& NetworkPool::of(const Job& job) {
  if (loaded_ != job.group) {
    drop();
    warn_of_kernels(*job.placement.context, log_);
    warn_of_cudnn(job.placement, log_);
    networks_.emplace(job.group->folder, job.group->placement, job.group->working, log_);
    loaded_ = job.group;
  }
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
  networks_.reset();
  release_cached(loaded_->placement.device);
  loaded_ = nullptr;
}

int64_t NetworkPool::expert_loads() const {
  return earlier_loads_ + (networks_ ? networks_->expert_loads() : 0);
}

}  // namespace wan
