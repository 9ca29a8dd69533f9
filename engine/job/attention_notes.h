// Which attention each encoding and each state was computed with, kept in the work folder.
#pragma once

#include <map>
#include <set>
#include <string>

#include "engine/base/note.h"
#include "engine/job/work_folder.h"
#include "engine/residency/device.h"
#include "engine/sampling/attention_record.h"

namespace wan {

/// Takes the back ends that this version does not know out of `choices`, which may be another version's, and returns
/// their names.
std::set<std::string> drop_unknown(AttentionChoices& choices);
/// The same, with a note for each name where `device` is a GPU: on the CPU nothing is chosen.
void leave_out_unknown(AttentionChoices& choices, at::Device device, Notes& notes);

/// On CUDA the back end is measured, so another process could choose another and give other bytes. On the CPU, which
/// has one attention, nothing happens.
class AttentionNotes {
 public:
  explicit AttentionNotes(WorkFolder& folder) : folder_(folder) {}

  /// Before work on the piece `name`: uses what was noted under it, else what the replayed video was made with, else
  /// what earlier pieces used; back ends that this version does not know are left out, with a note. What is used is
  /// counted anew from here.
  void pin(const Placement& placement, const std::string& name, const std::map<std::string, std::string>& replayed,
           Notes& notes);
  /// During or after it: what it used so far is on the disk.
  void note(const Placement& placement, const std::string& name);
  /// Case name -> back end, as a record has it.
  std::map<std::string, std::string> noted(const std::string& name) const;

 private:
  WorkFolder& folder_;
  std::map<std::string, std::string> used_;  // in this process
};

}  // namespace wan
