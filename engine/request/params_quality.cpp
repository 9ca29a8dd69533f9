// Rows of the table of parameters: what is looked at in the finished video.
#include "engine/request/params_rows.h"

namespace wan::rows {

// Not stored: it says what is looked at and changes no frame of a first render, so that a video counts as finished
// whatever the check. That of a second render says what it was made with instead (Record::asked).
std::vector<Parameter> of_quality() {
  return {
      {.name = "quality_check",
       .field = &Request::quality_check,
       .tasks = every({.value = "warn", .words = {"warn", "retry", "off"}}),
       .group = "Output",
       .help = "Look at the frames for black, flat, frozen or flickering ones, drift of brightness and colour, visible "
               "borders between clips, and sound beside its picture: docs/quality.md. warn tells, retry renders once "
               "more with exact kernels where it found something and keeps both, off does not look.",
       .stored = false},
  };
}

}  // namespace wan::rows
