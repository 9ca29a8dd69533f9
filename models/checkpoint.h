// Checkpoints on disk (memory-mapped, never copied) and the book that a network crosses names off in.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "models/precision.h"

namespace wan {

/// A read-only mapping of a whole file. The pages stay evictable; the file is not copied. Its size is that of the
/// moment of opening: a file that another program cuts short afterwards ends the process (SIGBUS), as with every
/// memory-mapping loader.
class MappedFile {
 public:
  /// Follows symbolic links. Throws ModelError where the file is absent, unreadable or not a regular file.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string_view bytes() const { return {data_, size_}; }

 private:
  MappedFile(std::filesystem::path path, const char* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}
  std::filesystem::path path_;
  const char* data_;
  size_t size_;
};

/// One tensor as a header describes it. Nothing of it has been read.
struct StoredTensor {
  at::ScalarType dtype;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;            // in elements; row-major for safetensors
  std::shared_ptr<const MappedFile> file;  // null: a name without data, for the meta device
  uint64_t offset = 0;                     // of the first element, in bytes from the start of the file

  /// Neither overflows for a tensor that came from a reader: its data lies in the file.
  int64_t elements() const;
  uint64_t bytes() const;
};

/// What safetensors calls a type: "F32", "BF16", "F8_E4M3"; "?" where it has no word for it.
std::string_view dtype_name(at::ScalarType dtype);
/// Row-major strides in elements.
std::vector<int64_t> row_major_strides(at::IntArrayRef shape);

/// The tensors of one network, by the names in the file.
class Checkpoint {
 public:
  /// `path` is a folder with `diffusion_pytorch_model.safetensors[.index.json]`, `model.safetensors` or
  /// `pytorch_model.bin` (the first of these counts), a `.safetensors` file or a torch archive (`.pth`, `.pt`, `.bin`,
  /// `.pkl`). Reads headers only. Throws ModelError for files that are absent, truncated, hostile or contradict their
  /// index.
  static Checkpoint open(const std::filesystem::path& path);
  /// Names and shapes without data: builds a network on the meta device, at no memory.
  static Checkpoint names_only(std::map<std::string, StoredTensor> tensors, std::string label);

  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }
  /// The files that were opened, in the order of their names.
  const std::vector<std::shared_ptr<const MappedFile>>& files() const { return files_; }
  /// What messages call it: the path as given.
  const std::string& label() const { return label_; }
  uint64_t bytes() const;

  /// A read-only view of the mapping, which it keeps alive (meta where there is no file). Never write to it. Only a
  /// tensor whose address in the file is no multiple of its element size is copied. Throws ModelError for unknown
  /// names.
  at::Tensor map(const std::string& name) const;

 private:
  std::map<std::string, StoredTensor> tensors_;
  std::vector<std::shared_ptr<const MappedFile>> files_;
  std::string label_;
};

/// Reads the header of a `.safetensors` file. As strict as the format's own library: throws ModelError for a header
/// over 100 MB, bad or ambiguous JSON, unknown dtypes, sizes that contradict shapes, overlaps, gaps and trailing bytes.
std::map<std::string, StoredTensor> read_safetensors(const std::shared_ptr<const MappedFile>& file);
/// The `__metadata__` of a `.safetensors` file; empty where there is none.
std::map<std::string, std::string> read_safetensors_metadata(const std::shared_ptr<const MappedFile>& file);
/// Writes tensors (any device, made contiguous) and metadata, wide elements first and then by name, as the format's own
/// library does, so that all are aligned and equal input gives equal bytes. Written beside, synced and renamed.
/// Throws std::runtime_error where the disk refuses; `path` is then as it was.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});
/// Reads a `.pth` that holds a state dict: the zip archive of torch 1.6 and later, or the older row of pickles. Knows
/// the opcodes and globals such a file needs, executes nothing and refuses the rest by name. Throws ModelError.
std::map<std::string, StoredTensor> read_pth(const std::shared_ptr<const MappedFile>& file);

/// The bytes that say what a checkpoint file holds, without its data: length and JSON of a safetensors file; the table
/// and data.pkl of an archive; the pickles of an older torch file; the whole of any other file. Throws ModelError.
std::vector<std::string_view> header_of(const std::shared_ptr<const MappedFile>& file);

/// What a weight is used for, which decides the precision that residency gives it.
enum class Role {
  Matmul,  // the reference autocasts it: bf16 on CUDA
  Block,   // the same inside a transformer block, where nearly all the work is: 8 bits in the lower precisions
  Island,  // stays float32: time embedding and projection, modulation, norms, head, VAE
  Table,   // looked up by row (token embedding): stays as stored, where it is stored
};

/// Puts a mapped tensor where residency wants it and returns what the layer keeps.
using Place = std::function<at::Tensor(const at::Tensor& mapped, Role role)>;
/// Keeps the mapping itself: the CPU path. Layers convert at use.
at::Tensor keep_mapped(const at::Tensor& mapped, Role role);

/// Makes up a weight of `shape`: the size of a real network without its file, for benchmarks and tests.
using Draw = std::function<at::Tensor(at::IntArrayRef shape, Role role)>;

class Weights;

/// A place in the tree of names: `scope / "blocks" / 3 / "self_attn"`.
class Scope {
 public:
  Scope operator/(std::string_view segment) const;
  Scope operator/(int64_t index) const;
  /// Takes `<path>.<leaf>` and crosses it off. Where it is missing or of another shape this is noted for
  /// `Weights::finish` and an undefined tensor comes back, so that one error can list all. Taking a name twice is
  /// std::logic_error.
  at::Tensor take(std::string_view leaf, at::IntArrayRef shape, Role role) const;
  /// Whether `<path>.<leaf>` exists.
  bool has(std::string_view leaf) const;
  /// The stored shape of `<path>.<leaf>`; empty where it is absent. For sizes that no config states.
  std::vector<int64_t> shape(std::string_view leaf) const;
  const std::string& path() const { return path_; }
  /// Of the network that is being built.
  Precision precision() const;

 private:
  friend class Weights;
  Scope(Weights* book, std::string path) : book_(book), path_(std::move(path)) {}
  Weights* book_;
  std::string path_;
};

/// The book of a checkpoint while a network is built from it: which names were used, missing, wrongly shaped.
class Weights {
 public:
  explicit Weights(Checkpoint checkpoint, Place place = keep_mapped, Precision precision = Precision::Exact);
  /// A book without a file: whatever is taken is drawn. `shapes` answers `Scope::has` and `Scope::shape`, for networks
  /// that read sizes off their file.
  explicit Weights(Draw draw, Checkpoint shapes = {}, Precision precision = Precision::Exact);
  Weights(const Weights&) = delete;
  Scope root() { return Scope(this, ""); }
  const Checkpoint& checkpoint() const { return checkpoint_; }
  std::vector<std::string> unused() const;
  /// Crosses off the names that begin with `prefix`: tensors that this use of the network is known not to need.
  void ignore(std::string_view prefix);
  /// Throws one ModelError that lists what is missing, wrongly shaped and unused (each list cut after ten names, with
  /// its length). Call it once the network is built.
  void finish() const;

 private:
  friend class Scope;
  Checkpoint checkpoint_;
  Place place_;
  Draw draw_;  // empty where there is a checkpoint
  Precision precision_;
  std::set<std::string> used_;
  std::vector<std::string> missing_, misshapen_;
};

}  // namespace wan
