#include "engine/residency/identity.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <functional>
#include <optional>
#include <system_error>
#include <thread>

#include "models/files/digest.h"
#include "models/files/error.h"
#include "models/files/mapped_file.h"
#include "models/weights/format/format.h"

namespace wan {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kPage = 4096;
constexpr int64_t kSecond = 1'000'000'000;

int64_t nanoseconds(const timespec& time) {
  return int64_t(time.tv_sec) * kSecond + time.tv_nsec;
}

/// Calls work(0) to work(count - 1) on up to `threads` threads, this one among them. Where some throw, the error of the
/// smallest number is thrown, as without threads.
void in_parallel(size_t count, int threads, const std::function<void(size_t)>& work) {
  std::vector<std::exception_ptr> errors(count);
  std::atomic<size_t> next = 0;
  const auto go = [&] {
    for (size_t i; (i = next++) < count;) try {
        work(i);
      } catch (...) {
        errors[i] = std::current_exception();
      }
  };
  {
    std::vector<std::jthread> others;
    try {
      for (int i = 1; i < threads && size_t(i) < count; ++i) others.emplace_back(go);
    } catch (const std::system_error&) {  // fewer do it, too
    }
    go();
  }
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

/// A file that is read at chosen places. No name stays open in a mapping, and nothing is read ahead.
class SampledFile {
 public:
  explicit SampledFile(const fs::path& path)
      : path_(path), file_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (file_ < 0) throw ModelError(path.string(), std::string("must be a readable file: ") + std::strerror(errno));
    posix_fadvise(file_, 0, 0, POSIX_FADV_RANDOM);
  }
  SampledFile(const SampledFile&) = delete;
  ~SampledFile() { close(file_); }

  IdentityCache::Key key() const {
    struct stat state;
    if (fstat(file_, &state) != 0)
      throw ModelError(path_.string(), std::string("cannot be read: ") + std::strerror(errno));
    return {
        fs::absolute(path_).string(), state.st_dev, state.st_ino, uint64_t(state.st_size), nanoseconds(state.st_mtim),
        nanoseconds(state.st_ctim)};
  }

  std::string_view read(uint64_t offset, uint64_t size, char* buffer) const {
    for (uint64_t got = 0; got < size;) {
      const ssize_t count = pread(file_, buffer + got, size - got, off_t(offset + got));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw ModelError(path_.string(), std::string("cannot be read: ") + std::strerror(errno));
      if (count == 0) throw ModelError(path_.string(), "must stay as it is, became shorter while it was read");
      got += uint64_t(count);
    }
    return {buffer, size};
  }

 private:
  fs::path path_;
  int file_;
};

/// Where a tensor's data lie in the file: from its first to its last element, which a view may not fill.
struct Span {
  uint64_t offset, size;
};

Span span_of(const StoredTensor& tensor) {
  if (tensor.elements() == 0) return {tensor.offset, 0};
  int64_t last = 0;
  for (size_t i = 0; i < tensor.shape.size(); ++i) last += (tensor.shape[i] - 1) * tensor.strides[i];
  return {tensor.offset, uint64_t(last + 1) * c10::elementSize(tensor.dtype)};
}

/// One file on its way to a digest.
struct Pending {
  fs::path path;
  std::optional<SampledFile> file;
  IdentityCache::Key key;
  std::string digest;             // once it is known
  bool sampled = false;           // it holds tensors
  std::string header;             // SHA-256
  std::vector<Span> tensors;      // by name
  std::vector<std::string> sums;  // SHA-256 of each tensor's samples

  /// What is to be read; nothing where the cache knows the file.
  void open(const IdentityCache& cache) {
    file.emplace(path);
    key = file->key();
    digest = cache.find(key);
    if (!digest.empty()) return;
    const auto mapped = MappedFile::open(path);
    sampled = format_of(*mapped) != nullptr;
    if (!sampled) return;
    header = sha256(header_of(mapped));
    for (const auto& [name, tensor] : read_tensors(mapped)) tensors.push_back(span_of(tensor));
    sums.resize(tensors.size());
  }

  void sample(size_t tensor, IdentityCache& cache) {
    std::array<char, 2 * kPage> buffer;
    const auto [offset, size] = tensors[tensor];
    const bool whole = size <= buffer.size();
    Sha256 sum;
    sum.add(file->read(offset, whole ? size : kPage, buffer.data()));
    if (!whole) sum.add(file->read(offset + size / 2 / kPage * kPage, kPage, buffer.data()));
    cache.count(std::min<uint64_t>(size, buffer.size()));
    sums[tensor] = sum.hex();
  }

  void finish(IdentityCache& cache) {
    if (!digest.empty()) return;
    if (sampled) {
      Sha256 sum;
      sum.add(header);
      for (const std::string& part : sums) sum.add(part);
      digest = kSamplesDigest + sum.hex();
    } else {
      digest = kWholeDigest + sha256({MappedFile::open(path)->bytes()});
      cache.count(key.size);
    }
    if (file->key() != key) throw ModelError(path.string(), "must stay as it is, was changed while it was read");
    cache.keep(key, digest);
  }
};

}  // namespace

std::string IdentityCache::find(const Key& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = digests_.find(key);
  return found == digests_.end() ? "" : found->second;
}

void IdentityCache::keep(const Key& key, const std::string& digest) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (key.modified > nanoseconds(now) - 2 * kSecond) return;
  const std::lock_guard lock(mutex_);
  digests_[key] = digest;
}

std::vector<FileIdentity> identify(const fs::path& root, const std::vector<fs::path>& names, IdentityCache& cache,
                                   int threads) {
  std::vector<Pending> files(names.size());
  for (size_t i = 0; i < names.size(); ++i) files[i].path = root / names[i];
  in_parallel(files.size(), threads, [&](size_t i) { files[i].open(cache); });
  std::vector<std::pair<Pending*, size_t>> samples;
  for (Pending& file : files)
    for (size_t tensor = 0; tensor < file.tensors.size(); ++tensor) samples.emplace_back(&file, tensor);
  in_parallel(samples.size(), threads, [&](size_t i) { samples[i].first->sample(samples[i].second, cache); });
  in_parallel(files.size(), threads, [&](size_t i) { files[i].finish(cache); });
  std::vector<FileIdentity> found;
  for (size_t i = 0; i < names.size(); ++i)
    found.push_back({names[i].generic_string(), files[i].key.size, files[i].digest});
  return found;
}

std::vector<FileIdentity> identities(const ModelFolder& folder, IdentityCache& cache) {
  return identify(folder.root, folder.files(), cache);
}

std::vector<FileIdentity> identities(const ModelFolder& folder) {
  IdentityCache cache;
  return identities(folder, cache);
}

std::string header_digest(const fs::path& root, const std::string& name) {
  return kHeaderDigest + sha256(header_of(MappedFile::open(root / name)));
}

}  // namespace wan
