// Whether jobs can run here, without rendering anything: what a render looks at before its first step.
#pragma once

#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/base/note.h"
#include "engine/job/scheduler.h"

namespace wan {

/// What was found for one job.
struct CheckResult {
  int64_t line;  // of the manifest; 0: of no manifest
  std::string name;
  std::vector<Note> notes;
  std::exception_ptr failure;  // InvalidRequest, ModelError or SafetyRefusal; null: it can run
};

struct CheckOptions {
  bool overwrite = false;           // as the render would be told
  bool given_order = false;         // the same
  std::string contact_sheet = {};   // the same
  std::string captured_heads = {};  // the same
  std::string preview = {};         // the same
  std::filesystem::path work;       // where its unfinished work would lie
  std::filesystem::path scratch;    // an empty folder for the copies of URLs
  Contexts* contexts = nullptr;
};

/// Makes and changes no file but in the scratch folder. Of LoRAs it looks at samples (lora::Reading). Throws Cancelled.
std::vector<CheckResult> check_jobs(const std::vector<JobRequest>& jobs, const CheckOptions& options,
                                    Progress& progress);

}  // namespace wan
