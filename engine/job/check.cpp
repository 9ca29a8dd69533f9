#include "engine/job/check.h"

#include "engine/base/error.h"
#include "engine/base/text.h"
#include "engine/job/few_steps.h"
#include "engine/job/input_safety.h"
#include "engine/job/network_pool.h"
#include "engine/job/outputs.h"
#include "engine/job/preflight.h"
#include "engine/request/expander_url.h"
#include "engine/request/field_names.h"
#include "engine/residency/model_check.h"
#include "engine/residency/model_reuse.h"
#include "engine/residency/needs.h"
#include "engine/sampling/skipping.h"
#include "models/files/error.h"

namespace wan {

namespace {

/// Looks at one job after another; jobs share what was found about their model.
class Check {
 public:
  Check(const CheckOptions& options, Progress& progress)
      : options_(options), progress_(progress), networks_(Log{}, lora::Reading::Samples), preflight_(Look::Whole) {}

  void look(const Request& request, Notes& notes) {
    Placement placement = resolve_placement(request, options_.contexts);
    const Group& group = networks_.group_of(request, placement);
    const std::shared_ptr<const UsedLoras> loras = networks_.loras_of(request, group);
    loras->loras.note(notes);
    const InputFiles files = input_files(request, options_.scratch, progress_);
    const std::shared_ptr<const UsedInterpolator> interpolator = networks_.interpolator_of(request);
    const std::shared_ptr<const UsedSafety> checker = networks_.safety_of(request, options_.contexts);
    SafetyRecord said;
    input_safety_.look_at_prompt(request, said);  // pictures are looked at by a render alone
    const Record record = make_record(
        request, placement, joined(joined(joined(group.files, loras->files), interpolator->files), checker->files),
        identify_inputs(request, files.by_field(), contents_));
    check_free(request, record, notes);
    check_beside("contact_sheet", options_.contact_sheet, options_.overwrite);
    check_beside("capture_qk", options_.captured_heads, options_.overwrite);
    check_preview(options_.preview, options_.overwrite, options_.work);
    note_search(group.parts, notes);
    note_zero_weights(group.files, notes);
    check_precision(group.parts, placement);
    check_skipping(request, group.parts, placement);
    note_weights(group.parts, placement, notes);
    note_few_steps(request, group.parts, notes);
    check_calibration(request, group.parts, group.files);
    note_reuse(step_reuse(request, group.parts), notes);
    if (request.enable_prompt_expansion && !request.expander_url.empty()) notes.add(expansion_note(request));
    const Extent extent = largest_extent(request);
    const DiskNeed disk = disk_need(request, extent);
    check_space(waiting_ + disk.work + disk.running, options_.work);
    check_space(disk.video, request.out);
    const ModelPart watched = request.enable_output_safety_checker ? checker->part : ModelPart();
    preflight_.look(request, files, record, group,
                    preflight_.memory(request, group, placement, {}, interpolator->part, watched), notes, progress_);
    if (!options_.given_order) waiting_ += disk.work;
  }

 private:
  void check_free(const Request& request, const Record& record, Notes& notes) const {
    if (options_.overwrite || !std::filesystem::exists(request.out)) return;
    if (!request.out_given) return;  // a free name is taken
    if (!finished_seed(request.out, record))
      throw InvalidRequest("out", "must not be there already, and " + shown_path(request.out) +
                                      " is another request's, or does not say whose; --overwrite replaces it");
    notes.add({"out", "this request has made " + shown_path(request.out) + " before: it is not rendered again",
               "--overwrite renders it again"});
  }

  const CheckOptions& options_;
  Progress& progress_;
  NetworkPool networks_;
  InputContents contents_;
  Preflight preflight_;
  InputSafety input_safety_;
  uint64_t waiting_ = 0;  // bytes of the jobs that wait for their next phase
};

}  // namespace

std::vector<CheckResult> check_jobs(const std::vector<JobRequest>& jobs, const CheckOptions& options,
                                    Progress& progress) {
  Check check(options, progress);
  std::vector<CheckResult> results;
  for (const JobRequest& job : jobs) {
    progress.check();
    Notes notes;
    CheckResult result{job.line, job.name.empty() ? shown_name(job.request.out) : job.name, {}, {}};
    if (job.line > 0) note_idle_safety(job.request, notes);
    try {
      check.look(job.request, notes);
    } catch (const Cancelled&) {
      throw;
    } catch (const std::exception&) {
      result.failure = std::current_exception();
    }
    result.notes = notes.list();
    if (job.line > 0)
      for (Note& note : result.notes) note = {note.subject, with_field_names(note.text), with_field_names(note.change)};
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace wan
