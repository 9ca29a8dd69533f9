#include "engine/serve/api/files_in_use.h"

#include <utility>

namespace wan::serve {

FilesInUse::Claim::~Claim() {
  for (const std::string& name : names_) {
    const auto found = state_->claims.find(name);
    if (found == state_->claims.end() || --found->second > 0) continue;
    state_->claims.erase(found);
    const bool is_orphan = state_->made.erase(name) > 0;
    if (state_->on_free) state_->on_free(name, is_orphan);
  }
}

void FilesInUse::Claim::add(const std::string& name) {
  if (names_.insert(name).second) ++state_->claims[name];
}

FilesInUse::Arrival::Arrival(const FilesInUse& files, std::string name)
    : state_(files.state_), name_(std::move(name)), is_first_(state_->arriving.insert(name_).second) {}

FilesInUse::Arrival::~Arrival() {
  if (is_first_) state_->arriving.erase(name_);
}

void FilesInUse::listen(std::function<void(const std::string&, bool)> on_free,
                        std::function<void(const std::string&)> on_new) {
  state_->on_free = std::move(on_free);
  state_->on_new = std::move(on_new);
}

}  // namespace wan::serve
