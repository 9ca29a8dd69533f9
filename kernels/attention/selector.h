// Which attention runs on a device: every back end is timed once on the real shape, and none is used before it has
// agreed with the reference. Times can be kept for the next process, and a choice can be pinned so that a replay
// computes the same. The back ends, the clock and the memory are given: the tests choose on the CPU with their own.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace wan::kernels {

using at::Tensor;

/// What a back end is chosen for. Up to 1024 queries or keys are rounded up to a power of two, since the number of text
/// keys changes with every prompt.
struct AttentionCase {
  enum class Bias { None, Key, Full };
  int64_t batch, heads, queries, keys, width;
  at::ScalarType dtype;
  Bias bias;

  bool operator==(const AttentionCase&) const = default;
  /// For people and files: "b1 h40 q75600 k75600 d128 BFloat16".
  std::string name() const;
};
/// q [B, Lq, H, D], k [B, Lk, H, D]; bias undefined, [Lk] or [H, Lq, Lk].
AttentionCase attention_case(const Tensor& q, const Tensor& k, const Tensor& bias);

/// One way to compute kernels::attention. `run` may throw c10::Error for what it cannot do after all.
struct AttentionBackend {
  using Function =
      std::function<Tensor(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias)>;
  std::string name;
  std::function<bool(const AttentionCase&)> takes;
  Function run;
  /// In place of AttentionSelector::bound, where 8 bits are meant to round more.
  std::optional<double> bound = {};
  /// What its time counts for in the choice: above 1 for a way that is less exact, which must win by so much.
  double handicap = 1;
};

/// Milliseconds of each back end in one case; no number where it failed or was wrong.
using AttentionTimes = std::map<std::string, std::optional<double>>;

/// Where times outlive a process. `card` names the GPU and the versions of its libraries: times of another card do not
/// hold. Both may forget: that costs a measurement. They are called under the selector's lock and may not call it.
struct AttentionMemory {
  /// The times of a case by its name; empty where there are none.
  std::function<AttentionTimes(const std::string& card, const std::string& case_name)> load;
  std::function<void(const std::string& card, const std::string& case_name, const AttentionTimes& times)> store;
};

/// Chooses among back ends; the reference (kernels::reference::attention) is always the last resort. Thread-safe.
class AttentionSelector {
 public:
  /// Milliseconds of one call.
  using Timer = std::function<double(const std::function<void()>&)>;

  /// `off` names back ends that are left out unless pinned. Throws c10::Error for a name that is not among them.
  AttentionSelector(std::vector<AttentionBackend> backends, std::string card, Timer timer,
                    const std::vector<std::string>& off = {});

  /// kernels::attention through the chosen back end; the first call of a case times and checks. Throws
  /// c10::OutOfMemoryError, and chooses nothing, where no back end passes and one of them had no memory.
  Tensor operator()(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias = {});
  /// The name of the back end that such a call uses, which is chosen in the same way; "reference" where none is left.
  std::string chosen(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias = {});

  /// What is measured from now on is stored there, and looked up there before. An empty function does nothing.
  void set_memory(AttentionMemory memory);
  /// Uses this back end ("reference" too) wherever it takes the case and passes the check, without timing; "" ends
  /// that. Choices made so far are made anew. Throws c10::Error for a name that is not among the back ends.
  void pin(const std::string& name);
  /// The same for each case by its name, as `choices` gave them; cases that are not named are measured.
  void pin(const std::map<std::string, std::string>& choices);
  /// Throws c10::Error where that would.
  void require(const std::map<std::string, std::string>& choices) const;

  /// Case name -> back end in use: the part of a file's metadata that a replay pins.
  std::map<std::string, std::string> choices() const;
  /// A line for each case: what was chosen, what the others took or why they are out.
  std::vector<std::string> report() const;

  /// Largest relative L2 error on the sampled rows with which a back end passes.
  static double bound(at::ScalarType dtype);

 private:
  struct Choice {
    const AttentionBackend* backend;  // null: the reference
    std::string reason;
  };
  struct Inputs {
    const Tensor &q, &k, &v;
    double scale;
    const Tensor& bias;
  };
  struct Trials;
  struct Hash {
    size_t operator()(const AttentionCase& c) const;
  };

  const AttentionBackend* backend_for(const Inputs& inputs);
  const AttentionBackend* find(const std::string& name) const;
  void require(const std::string& name) const;
  Choice choose(const AttentionCase& wanted, const Inputs& inputs) const;
  const AttentionBackend* remembered(const AttentionCase& wanted) const;

  const std::vector<AttentionBackend> backends_;
  const std::string card_;
  const Timer timer_;
  std::set<std::string> off_;
  AttentionMemory memory_;
  std::string pinned_;
  std::map<std::string, std::string> pinned_cases_;
  std::unordered_map<AttentionCase, Choice, Hash> choices_;
  mutable std::mutex mutex_;
};

/// Relative L2 distance of `output` to the reference in float32 on at most 16 of its rows (first_use.h, spread_rows);
/// infinity where it holds a NaN. Bounded memory at any length.
double sampled_error(const Tensor& output, const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                     const Tensor& bias);

}  // namespace wan::kernels
