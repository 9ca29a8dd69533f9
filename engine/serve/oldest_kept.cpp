#include "engine/serve/oldest_kept.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace wan::serve {
namespace {

constexpr int64_t kPiece = 20;          // jobs or uploads between two pauses
constexpr int64_t kMostAsked = 10'000;  // that the store lists

// The same for both kinds of what is kept.
const std::string& name_of(const EndedJob& job) {
  return job.id;
}
const std::string& name_of(const PutUpload& upload) {
  return upload.file;
}
const std::string& file_of(const EndedJob& job) {
  return job.file;
}
const std::string& file_of(const PutUpload& upload) {
  return upload.file;
}
int64_t stamp_of(const EndedJob& job) {
  return job.ended;
}
int64_t stamp_of(const PutUpload& upload) {
  return upload.created;
}

}  // namespace

/// `list` gives a number of rows, the oldest first. What is not to go may come first: then more is asked for.
template <typename Kept>
Awaitable<std::vector<Kept>> OldestKept::oldest(std::function<std::vector<Kept>(Store&, int64_t)> list, int64_t least) {
  for (int64_t most = kPiece + int64_t(files_.in_use().count());; most *= 4) {
    most = std::min(most, kMostAsked);
    std::function<std::vector<Kept>(Store&)> question = [list, most](Store& store) { return list(store, most); };
    std::vector<Kept> all = co_await jobs_.ask<std::vector<Kept>>(std::move(question));
    const bool is_all = int64_t(all.size()) < most || most == kMostAsked ||
                        (!all.empty() && ages_.now() - stamp_of(all.back()) < least);
    std::erase_if(all, [&](const Kept& one) {
      return files_.in_use().has(file_of(one)) || ages_.age(name_of(one), stamp_of(one)) < least;
    });
    if (int64_t(all.size()) > kPiece) all.resize(size_t(kPiece));
    if (is_all || !all.empty()) co_return all;
  }
}

Awaitable<std::vector<EndedJob>> OldestKept::jobs(bool hidden, int64_t least) {
  std::function<std::vector<EndedJob>(Store&, int64_t)> list = [hidden](Store& store, int64_t most) {
    return store.oldest_ended(most, hidden);
  };
  return oldest<EndedJob>(std::move(list), least);
}

Awaitable<std::vector<PutUpload>> OldestKept::uploads(int64_t least) {
  std::function<std::vector<PutUpload>(Store&, int64_t)> list =
      [before = ages_.now() - least](Store& store, int64_t most) { return store.uploads_before(before, most); };
  return oldest<PutUpload>(std::move(list), least);
}

}  // namespace wan::serve
