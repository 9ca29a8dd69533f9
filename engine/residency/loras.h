// The LoRAs of a request: which file changes which transformer, and how strongly at which step.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/note.h"
#include "engine/request/schedule.h"
#include "engine/residency/parts.h"
#include "models/weights/lora/attach.h"

namespace wan {

/// The LoRAs that a step has, on the transformer that makes it.
using StepAdapters = std::function<std::vector<lora::Adapter>(const Step& step)>;

/// What one file does to a network, for a line of the log: how many of its keys apply, which are left out and why, the
/// scales and what each comes to.
Log::Fields lora_fields(const lora::File& file, const std::string& name, const std::string& network,
                        const std::vector<double>& scales);

/// Notes under `field` a low-rank difference without alpha.
void note_alpha(const lora::File& file, const std::string& name, const char* field, Notes& notes);
/// Notes a file whose differences are all 0; reads it up to the first that is not. Throws ModelError for a factor that
/// is not finite.
void note_zero(const lora::File& file, const std::string& name, const char* field, Notes& notes);

/// Opened from headers and alphas; empty for a request without LoRAs.
class Loras {
 public:
  Loras() = default;
  /// `parts` are those of the request: the transformers, and its LoRAs' files. A file is for the expert that the
  /// request says, else for the one that its name or its folder's does. Throws InvalidRequest (field "loras") for one
  /// that tells neither, for a file that comes twice for one transformer, and for more scales than its transformer
  /// makes steps; ModelError as lora::File::open.
  Loras(const Request& request, const ModelParts& parts);

  bool empty() const { return uses_.empty(); }
  /// Of the steps of the request's schedule, by its scales (engine/request/lora_scales.h). Empty without LoRAs.
  StepAdapters in_steps(const Request& request) const;

  /// Of the branches and other values beside a transformer that computes in `compute`: the most that one has.
  uint64_t bytes(at::ScalarType compute) const;
  /// What they take while they compute: the most that one transformer's do.
  lora::BranchWork work(at::ScalarType compute) const;
  /// FLOPs that they add to the blocks of a forward, for each token: the most that one transformer has.
  double flops() const;

  /// Reads all files, or of each factor its first values. Throws ModelError for numbers that are not finite.
  void check_finite(lora::Reading reading) const;
  /// A line for each file on each transformer: how many of its keys apply, which are left out and why, the scale.
  void tell(const Log& log) const;
  /// What may not be meant: files of one expert alone without one of the other, a file that is by its name or its keys
  /// for the other expert, half of a file for both that @ leaves out, keys that are left out, alphas that are absent, a
  /// file of zeros.
  void note(Notes& notes) const;

 private:
  struct Use {
    std::shared_ptr<const lora::File> file;
    std::string name;  // of the file (short_names)
    std::vector<double> scales;
    std::string other_by;  // "name" or "keys", by which it is for the other expert; empty: by nothing
    size_t left_out = 0;   // keys of the other expert, of a file for both
  };
  void add(const Lora& lora, const std::string& name, const Request& request, const ModelParts& parts);
  std::vector<const Use*> alone_on(Network network, Network other) const;
  void note_half(const Use& use, Network network, Notes& notes) const;
  void note_left_out(Notes& notes) const;
  void note_pairs(Notes& notes) const;

  std::map<Network, std::vector<Use>> uses_;
};

}  // namespace wan
