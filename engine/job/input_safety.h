// Whether the prompt and the input pictures of jobs may be used: looked at before anything is computed of them.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "engine/base/note.h"
#include "engine/base/progress.h"
#include "engine/job/blocked_words.h"
#include "engine/job/fetched.h"
#include "engine/job/output_safety.h"

namespace wan {

/// Looks at the inputs of the jobs of one run; equal pictures are looked at once, and a list is read once.
class InputSafety {
 public:
  /// The prompt alone, by the request's list; does nothing without one. Throws SafetyRefusal where it has a blocked word
  /// and the request refuses, InvalidRequest for the list.
  void look_at_prompt(const Request& request, SafetyRecord& record) {
    look_at_words(request, "prompt", request.prompt, record);
  }
  /// The same of another text, which records call `field`: the expanded prompt.
  void look_at_words(const Request& request, const std::string& field, const std::string& text, SafetyRecord& record);
  /// The prompt, then what it was expanded to, where that is not empty.
  void look_at_texts(const Request& request, const std::string& expanded, SafetyRecord& record);
  /// The prompt, then each picture, and of videos frames that are spread over what is used of them. Notes what is not
  /// looked at. `inputs`: the identities of all files. Throws the same; InvalidRequest where an input cannot be read,
  /// Cancelled.
  SafetyRecord look(const Request& request, const InputFiles& files, const InputIdentities& inputs,
                    const UsedSafety& used, Notes& notes, Progress& progress, const std::string& label);

 private:
  const SafetyVerdict& verdict_of(const Request& request, const MediaFile& file, const std::string& content,
                                  const UsedSafety& used, Progress& progress, const std::string& label);

  std::map<std::filesystem::path, BlockedWords> lists_;
  std::map<std::string, SafetyVerdict> known_;  // by content, checker, and what is used of it
};

/// Notes fields about what is flagged, of a request in which nothing is looked at.
void note_idle_safety(const Request& request, Notes& notes);

/// Whether an earlier run, whose record this is, looked at all pictures that are given, with the same checker and threshold:
/// they need not be there any more.
bool knows_inputs(const SafetyRecord& record, const Request& request, const UsedSafety& used);

}  // namespace wan
