// A LoRA file: low-rank and other differences of a network's weights, in the dialects that people have.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "models/weights/checkpoint.h"
#include "models/weights/kronecker.h"
#include "models/weights/lora/names.h"

namespace wan::lora {

enum class Kind {
  LowRank,    // B A
  Hadamard,   // LoHa: (1A 1B) * (2A 2B)
  Kronecker,  // LoKr: W1 (x) W2
  Full,       // the difference itself
};
const char* name(Kind kind);

/// A matrix of a LoKr, or two whose product it is: their widths.
struct FactorSizes {
  int64_t rows = 0, columns = 0, rank = 0;  // rank 0: one matrix

  /// With enough of ranks two are larger than what they make, and are kept as that.
  bool is_product() const { return rank > 0 && rank * (rows + columns) < rows * columns; }
  int64_t values() const { return is_product() ? rank * (rows + columns) : rows * columns; }
  /// As KroneckerOrder takes them.
  std::vector<int64_t> widths() const;
};

/// The difference of one tensor of the network. Nothing of it has been read but alpha.
struct Difference {
  std::string tensor;          // of the network, by its official name: "blocks.0.self_attn.q.weight"
  std::vector<int64_t> shape;  // of that tensor
  Kind kind;
  int64_t rank = 0;                     // 0: of a full difference, and of a LoKr whose factors are both whole
  int64_t second_rank = 0;              // of a LoHa's second product
  FactorSizes w1 = {}, w2 = {};         // of a LoKr
  std::optional<double> alpha;          // as it stands in the file
  double scale = 1;                     // alpha / rank; 1 where the file has no alpha
  bool dora = false;                    // the rows or columns of the sum get the file's magnitudes
  bool dora_by_rows = true;             // [N, 1] and [N] are of rows, [1, N] of columns
  std::map<Part, std::string> factors;  // names in the file

  int64_t elements() const;
  /// Of its factors where it is kept as two.
  int64_t ranks() const { return kind == Kind::Hadamard ? rank * second_rank : rank; }
};

/// A difference [out, in] as up [out, ranks] times down [ranks, in], float32.
struct Factors {
  at::Tensor up, down;
};

/// How much of a file is looked at for numbers that are not finite.
enum class Reading {
  Whole,
  /// What a digest of samples reads anyway: the first 4 KiB of each factor, which are all of a small one.
  Samples,
};

/// What is read of a file, and what of it is not applied.
class File {
 public:
  struct Options {
    bool lax = false;               // keys that the network has no place for are left out instead of refused
    std::optional<Half> half = {};  // which expert the network is: of a file for two the other part is not looked at
  };
  /// Reads headers and alphas only. `network`: the tensors of the transformer by their official names. Throws
  /// ModelError, in one line: for a file that is no LoRA or one of another network, unknown keys, half a pair, shapes
  /// that do not fit, a rank of 0, an alpha that is not above 0, one module in two spellings, and what cannot be
  /// added (set_weight, convolutions with a core).
  static File open(const std::filesystem::path& path, const StoredTensors& network, const Options& options);

  /// By the names of their tensors.
  const std::vector<Difference>& differences() const { return differences_; }
  /// Keys left out, with the reason for each.
  const std::map<std::string, std::string>& exempt() const { return exempt_; }
  /// Keys left out because the network has no place for them; empty unless `lax`.
  const std::vector<std::string>& unknown() const { return unknown_; }
  /// How many keys it has for this network, those that are left out among them.
  size_t keys() const { return checkpoint_.tensors().size(); }
  /// How most modules are spelled: "official", "diffusers", "flattened".
  const std::string& dialect() const { return dialect_; }
  const std::string& label() const { return checkpoint_.label(); }
  /// Its texts, by their names; empty for a file that is no safetensors file.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// strength * scale * difference in the tensor's shape, computed in float64 and rounded to float32. Throws ModelError
  /// for a factor that is not finite, std::logic_error for DoRA, whose difference depends on the weight.
  at::Tensor delta(const Difference& difference, double strength) const;
  /// The weight with the difference, float32. DoRA as LyCORIS has it: V = base + delta, each row (or column) scaled by
  /// 1 + strength (magnitude / |V| - 1).
  at::Tensor merged(const at::Tensor& base, const Difference& difference, double strength) const;

  /// The difference as factors, with strength and scale in `up`; of DoRA what is added before the magnitudes count.
  /// Nothing for what has no factors of fewer values than it has itself: LoKr, full differences, LoHa of high ranks.
  /// Throws ModelError for a factor that is not finite.
  std::optional<Factors> factors(const Difference& difference, double strength) const;
  /// The same of a LoKr of a matrix, float64: strength and scale are in W1.
  Kronecker kronecker(const Difference& difference, double strength) const;
  /// The same as a whole, float64, in the tensor's shape.
  at::Tensor scaled(const Difference& difference, double strength) const;
  /// Reads all factors, or of each its first values alone. Throws ModelError for one that is not finite.
  void check_finite(Reading reading) const;

 private:
  friend class Product;
  friend class RowMerge;
  at::Tensor factor(const Difference& difference, Part part) const;
  at::Tensor stored(const Difference& difference, Part part) const;
  void check_finite(const at::Tensor& values, const std::string& name) const;

  Checkpoint checkpoint_;
  std::vector<Difference> differences_;
  std::map<std::string, std::string> exempt_;
  std::vector<std::string> unknown_;
  std::string dialect_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace wan::lora
