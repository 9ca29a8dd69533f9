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
    return {fs::absolute(path_).string(), stamp_of(state)};
  }

  /// Whether the whole pages of [offset, offset + size) are a hole of the file, which reads as zeros. False where the
  /// system cannot tell.
  bool is_hole(uint64_t offset, uint64_t size) const {
    const off_t data = lseek(file_, off_t((offset + kPage - 1) / kPage * kPage), SEEK_DATA);
    return data < 0 ? errno == ENXIO : uint64_t(data) >= (offset + size) / kPage * kPage;
  }

  std::string_view read(uint64_t offset, uint64_t size, char* buffer) const {
    for (uint64_t got = 0; got < size;) {
      const ssize_t count = pread(file_, buffer + got, size - got, off_t(offset + got));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw ModelError(path_.string(), std::string("cannot be read: ") + std::strerror(errno));
      if (count == 0)
        throw ModelError(path_.string(),
                         "must stay as it is, became shorter while it was read; put the whole file back");
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
  if (tensor.coding) return {tensor.offset, tensor.bytes()};
  int64_t last = 0;
  for (size_t i = 0; i < tensor.shape.size(); ++i) last += (tensor.shape[i] - 1) * tensor.strides[i];
  return {tensor.offset, uint64_t(last + 1) * c10::elementSize(tensor.dtype)};
}

bool is_zero(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char byte) { return byte == 0; });
}

/// One tensor of a file.
struct Sampled {
  std::string name;
  Span span;
  bool weight;           // a matrix or a kernel, which training never leaves at zero
  std::string sum = {};  // SHA-256 of its samples
  bool zero = false;
};

bool is_weight(const std::string& name, const StoredTensor& tensor) {
  const auto wide = [](int64_t size) { return size > 1; };
  return name.ends_with("weight") && std::count_if(tensor.shape.begin(), tensor.shape.end(), wide) >= 2;
}

/// One file on its way to a digest.
struct Pending {
  fs::path path;
  std::optional<SampledFile> file;
  IdentityCache::Key key;
  std::optional<IdentityCache::Known> known;
  bool sampled = false;          // it holds tensors
  std::string header;            // SHA-256
  std::vector<Sampled> tensors;  // by name

  /// What is to be read; nothing where the cache knows the file.
  void open(const IdentityCache& cache) {
    file.emplace(path);
    key = file->key();
    known = cache.find(key);
    if (known) return;
    const auto mapped = MappedFile::open(path);
    sampled = format_of(*mapped) != nullptr;
    if (!sampled) return;
    header = sha256(header_of(mapped));
    for (const auto& [name, tensor] : read_tensors(mapped))
      tensors.push_back({name, span_of(tensor), is_weight(name, tensor)});
  }

  void sample(Sampled& tensor, IdentityCache& cache) {
    std::array<char, 2 * kPage> buffer;
    const auto [offset, size] = tensor.span;
    const bool whole = size <= buffer.size();
    Sha256 sum;
    bool zero = tensor.weight && size > 0;
    const auto take = [&](uint64_t at, uint64_t length) {
      const std::string_view bytes = file->read(at, length, buffer.data());
      sum.add(bytes);
      zero = zero && is_zero(bytes);
    };
    take(offset, whole ? size : kPage);
    if (!whole) take(offset + size / 2 / kPage * kPage, kPage);
    cache.count(std::min<uint64_t>(size, buffer.size()));
    tensor.sum = sum.hex();
    tensor.zero = zero && (whole || is_zero_elsewhere(tensor.span, cache));
  }

  /// Between the samples, of which both are zero.
  bool is_zero_elsewhere(const Span& span, IdentityCache& cache) const {
    constexpr uint64_t kPages = 6;
    std::array<char, kPage> buffer;
    if (file->is_hole(span.offset, span.size)) return true;
    for (uint64_t i = 1; i <= kPages; ++i) {
      cache.count(kPage);
      if (!is_zero(file->read(span.offset + (span.size - kPage) / kPages * i, kPage, buffer.data()))) return false;
    }
    return true;
  }

  void finish(IdentityCache& cache) {
    if (known) return;
    known.emplace();
    if (sampled) {
      Sha256 sum;
      sum.add(header);
      for (const Sampled& tensor : tensors) {
        sum.add(tensor.sum);
        known->weights.add(tensor.sum);
        if (tensor.zero) known->zeros.push_back(tensor.name);
      }
      known->digest = kSamplesDigest + sum.hex();
    } else {
      known->digest = kWholeDigest + sha256({MappedFile::open(path)->bytes()});
      cache.count(key.stamp.size);
    }
    if (file->key() != key)
      throw ModelError(path.string(),
                       "must stay as it is, was changed while it was read; run the command again when it is whole");
    cache.keep(key, *known);
  }
};

}  // namespace

void WeightsSum::add(const std::string& sum) {
  constexpr size_t kDigits = 16;
  for (size_t i = 0; i < parts.size(); ++i) parts[i] += std::stoull(sum.substr(i * kDigits, kDigits), nullptr, 16);
}

FileStamp stamp_of(const struct stat& state) {
  return {state.st_dev, state.st_ino, uint64_t(state.st_size), nanoseconds(state.st_mtim), nanoseconds(state.st_ctim)};
}

std::optional<IdentityCache::Known> IdentityCache::find(const Key& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = known_.find(key);
  return found == known_.end() ? std::nullopt : std::optional(found->second);
}

void IdentityCache::keep(const Key& key, const Known& known) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (key.stamp.modified > nanoseconds(now) - 2 * kSecond) return;
  const std::lock_guard lock(mutex_);
  known_[key] = known;
}

std::vector<FileIdentity> identify(const std::vector<PartFile>& named, IdentityCache& cache, int threads) {
  std::vector<Pending> files(named.size());
  for (size_t i = 0; i < named.size(); ++i) files[i].path = named[i].path;
  in_parallel(files.size(), threads, [&](size_t i) { files[i].open(cache); });
  std::vector<std::pair<Pending*, Sampled*>> samples;
  for (Pending& file : files)
    for (Sampled& tensor : file.tensors) samples.emplace_back(&file, &tensor);
  in_parallel(samples.size(), threads, [&](size_t i) { samples[i].first->sample(*samples[i].second, cache); });
  in_parallel(files.size(), threads, [&](size_t i) { files[i].finish(cache); });
  std::vector<FileIdentity> found;
  for (size_t i = 0; i < named.size(); ++i) {
    const Pending& file = files[i];
    found.push_back({named[i].name, file.key.stamp.size, file.known->digest, file.known->zeros, named[i].part,
                     named[i].rule, file.key.stamp, file.known->weights});
  }
  return found;
}

std::vector<FileIdentity> identities(const ModelParts& parts, IdentityCache& cache) {
  return identify(parts.files(), cache);
}

std::vector<FileIdentity> identities(const ModelParts& parts) {
  IdentityCache cache;
  return identities(parts, cache);
}

std::string header_digest(const fs::path& file) {
  return kHeaderDigest + sha256(header_of(MappedFile::open(file)));
}

}  // namespace wan
