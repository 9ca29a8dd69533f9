#include "engine/serve/api/upload_room.h"

#include <utility>

namespace wan::serve {
namespace {

using Bytes = std::map<std::string, uint64_t>;

uint64_t of(const Bytes& all, const std::string& owner) {
  const auto found = all.find(owner);
  return found == all.end() ? 0 : found->second;
}

void subtract(Bytes& all, const std::string& owner, uint64_t bytes) {
  const auto found = all.find(owner);
  if (found != all.end() && (found->second -= bytes) == 0) all.erase(found);
}

}  // namespace

uint64_t UploadRoom::State::taken(const std::string& owner) const {
  return of(held, owner) + of(in_parts, owner);
}

UploadRoom::Hold::Hold(const UploadRoom& room, std::string owner, uint64_t bytes)
    : state_(room.state_), owner_(std::move(owner)), bytes_(bytes), before_(state_->taken(owner_)) {
  if (bytes_ > 0) state_->held[owner_] += bytes_;
}

UploadRoom::Hold::~Hold() {
  subtract(state_->held, owner_, bytes_);
}

void UploadRoom::set_parts(const std::string& parts, const std::string& owner, uint64_t bytes) {
  forget_parts(parts);
  if (bytes == 0) return;
  state_->parts[parts] = {owner, bytes};
  state_->in_parts[owner] += bytes;
}

void UploadRoom::forget_parts(const std::string& parts) {
  const auto found = state_->parts.find(parts);
  if (found == state_->parts.end()) return;
  subtract(state_->in_parts, found->second.owner, found->second.bytes);
  state_->parts.erase(found);
}

}  // namespace wan::serve
