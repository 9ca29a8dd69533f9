// One job of a batch: what it is, whom it shares networks with, and where its work lies meanwhile.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/job/batch.h"
#include "engine/job/record.h"
#include "engine/request/schedule.h"
#include "engine/residency/needs.h"

namespace wan {

/// Jobs that run on the same networks in the same precision on the same device.
struct BatchGroup {
  ModelFolder folder;
  Placement placement;
  std::vector<FileIdentity> files;
  uint64_t working = 0;  // activations of the largest job, bytes
};

struct BatchJob {
  JobResult* result = nullptr;
  std::string label;  // in progress reports: "2/12 NAME.mp4"
  std::string key;    // names the request and the content of its inputs: whether it is finished
  bool finished = false;
  bool prepared = false;        // its files and all that is below are known
  std::set<std::string> files;  // names of those in the work folder that it may need or leave; jobs share encodings

  // Of jobs that are not finished.
  Request request;         // settled by the inputs, once these are read
  std::string audio_from;  // file whose sound it keeps; empty: none
  std::string video;       // video to video: the input's file
  Placement placement;
  BatchGroup* group = nullptr;
  Record record;
  std::vector<Step> schedule;
  std::string name;                       // of its files: other for other model files, device or version
  std::string positive, negative, input;  // names of the encodings it needs; empty: none
};

/// Tells requests apart by their values and by their inputs' content, not by their outputs; equal ones by number.
class JobNames {
 public:
  /// Fills `key`. Throws ModelError where an input cannot be read.
  void set_key(BatchJob& job);
  /// Fills the names of the job's files, from its key, record and group.
  void set_names(BatchJob& job);

 private:
  /// SHA-256 of a file's bytes; a URL itself.
  std::string content_of(const std::string& path);

  std::map<std::string, std::string> contents_;  // path to SHA-256
  std::map<std::string, int64_t> equals_;
};

}  // namespace wan
