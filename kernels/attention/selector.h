// Which attention runs: every back end is timed once on the real shape, and none is used before it has agreed with the
// reference. A choice is kept in a file for the next process, and can be pinned so that a replay computes the same.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

namespace wan::kernels {

using at::Tensor;

/// What a back end is chosen for.
struct AttentionCase {
  enum class Bias { None, Key, Full };
  int64_t batch, heads, queries, keys, width;
  at::ScalarType dtype;
  Bias bias;

  /// One name for cases that share a choice: "b1 h40 q75600 k75600 d128 BFloat16". Up to 1024 queries or keys are
  /// rounded up to a power of two, since the number of text keys changes with every prompt.
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
};

/// Chooses among back ends; the reference (kernels::reference::attention) is always the last resort. Thread-safe.
class AttentionSelector {
 public:
  /// Milliseconds of one call.
  using Timer = std::function<double(const std::function<void()>&)>;

  /// `card` names the GPU and the library versions: a choice made under another name is not taken over. `off` names
  /// back ends to leave out from the start, with commas between. Throws c10::Error for a name that is not among them.
  AttentionSelector(std::vector<AttentionBackend> backends, std::string card, Timer timer, const std::string& off = "");

  /// kernels::attention through the chosen back end; the first call of a case times and checks.
  Tensor operator()(const Tensor& q, const Tensor& k, const Tensor& v, double scale, const Tensor& bias = {});

  /// Choices are read from and written to this JSON file; an empty path stops that. A file that cannot be read or
  /// written costs a new measurement, nothing else. Throws nothing.
  void set_cache(std::filesystem::path file);
  /// Takes a back end out of the choice, or back in; choices made so far are made anew.
  /// Throws c10::Error for a name that is not among the back ends.
  void set_enabled(const std::string& name, bool enabled);
  /// Uses this back end ("reference" too) wherever it takes the case and passes the check, without timing; "" ends
  /// that. Throws c10::Error for a name that is not among the back ends.
  void pin(const std::string& name);
  /// The same for each case by its name, as `choices` gave them; cases that are not named are measured.
  void pin(const std::map<std::string, std::string>& choices);

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
  struct Trial {
    const AttentionBackend* backend;
    double milliseconds;
  };
  struct Inputs {
    const Tensor &q, &k, &v;
    double scale;
    const Tensor& bias;
  };

  const AttentionBackend* find(const std::string& name) const;
  void require(const std::string& name) const;
  Choice choose(const AttentionCase& wanted, const Inputs& inputs) const;
  const AttentionBackend* remembered(const AttentionCase& wanted) const;
  void remember(const AttentionCase& wanted, const std::vector<Trial>& trials) const;

  std::vector<AttentionBackend> backends_;
  std::string card_;
  Timer timer_;
  std::filesystem::path cache_;
  std::set<std::string> disabled_;
  std::string pinned_;
  std::map<std::string, std::string> pinned_cases_;
  std::map<std::string, Choice> choices_;
  mutable std::mutex mutex_;
};

/// Relative L2 distance of `output` to the reference in float32 on at most 16 of its rows (the first, the last and
/// others evenly between); infinity where it holds a NaN. Bounded memory at any length.
double sampled_error(const Tensor& output, const Tensor& q, const Tensor& k, const Tensor& v, double scale,
                     const Tensor& bias);

/// The selector of this process: cuDNN, flash, memory-efficient and our own attention on the current GPU, timed by its
/// events. The environment variable WAN_ATTENTION_OFF names back ends to leave out, with commas between. Only in builds
/// with kernels (policy.h); the first use needs a GPU.
AttentionSelector& attention_selector();

}  // namespace wan::kernels
