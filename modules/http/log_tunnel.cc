#include <cstdio>

#include "engine/http/connection_facts.h"
#include "engine/http/graph.h"
#include "engine/http/request.h"
#include "engine/http/tunnel_handover.h"
#include "engine/http/upstream_record.h"
#include "engine/log/clock.h"
#include "engine/worker.h"
#include "modules/http/log.h"
#include "modules/shared/late_values.h"

// Log lines of tunnels: rendered to text when the tunnel begins, with holes for what is known only
// at its end, so that an idle tunnel keeps neither its request nor its generation.
namespace weir::http::log {

namespace {

enum class Hole : uint8_t {
  none,
  bytes_sent,
  body_bytes_sent,
  request_time,
  connection_time,
  milliseconds,
  time_local,
  time_iso8601,
  completion,
  upstream_time,
  upstream_received,
  upstream_sent,
  upstream_length,
};

struct HoleName {
  std::string_view variable;
  Hole hole;
};
constexpr HoleName kHoles[] = {
    {"bytes_sent", Hole::bytes_sent},
    {"body_bytes_sent", Hole::body_bytes_sent},
    {"request_time", Hole::request_time},
    {"connection_time", Hole::connection_time},
    {"msec", Hole::milliseconds},
    {"time_local", Hole::time_local},
    {"time_iso8601", Hole::time_iso8601},
    {"request_completion", Hole::completion},
    {"upstream_response_time", Hole::upstream_time},
    {"upstream_bytes_received", Hole::upstream_received},
    {"upstream_bytes_sent", Hole::upstream_sent},
    {"upstream_response_length", Hole::upstream_length},
};

Hole hole_of(std::string_view variable) {
  for (const HoleName& row : kHoles) {
    if (row.variable == variable) return row.hole;
  }
  return Hole::none;
}

bool is_late(std::string_view variable) {
  return hole_of(variable) != Hole::none;
}

std::string seconds_text(uint64_t milliseconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%llu.%03llu",
                static_cast<unsigned long long>(milliseconds / 1000),
                static_cast<unsigned long long>(milliseconds % 1000));
  return text;
}

// What a line needs besides its text.
struct Basis {
  uint64_t bytes_sent = 0;
  uint64_t body_bytes_sent = 0;
  uint64_t started_at = 0;
  uint64_t accepted_at = 0;
  uint64_t attempt_began = 0;
  uint64_t upstream_sent = 0;
  uint64_t upstream_received = 0;
  uint64_t upstream_length = 0;
};

class TunnelLine final : public LateLog {
 public:
  TunnelLine(Worker& worker, const AccessLog& log, const FileCache& cache, std::string path,
             const Basis& basis)
      : worker_(worker), log_(log), cache_(cache), path_(std::move(path)), basis_(basis) {
    log_.format = nullptr;  // belongs to the generation's settings; the text is rendered here
    log_.condition = {};
  }
  void add_text(std::string_view text) { text_ += text; }
  void add_hole(Hole hole) { holes_.push_back({static_cast<uint32_t>(text_.size()), hole}); }

  void finish(const TunnelEnd& end) override {
    std::string line;
    size_t at = 0;
    for (const auto& [position, hole] : holes_) {
      line.append(text_, at, position - at);
      line += fill(hole, end);
      at = position;
    }
    line.append(text_, at);
    line += '\n';
    Lines::write(worker_, log_, cache_, path_, line);
  }

 private:
  std::string fill(Hole hole, const TunnelEnd& end) const {
    switch (hole) {
      case Hole::none:
        break;
      case Hole::bytes_sent:
        return std::to_string(basis_.bytes_sent + end.sent_to_client);
      case Hole::body_bytes_sent:
        return std::to_string(basis_.body_bytes_sent + end.sent_to_client);
      case Hole::request_time:
        return seconds_text(end.now - basis_.started_at);
      case Hole::connection_time:
        return seconds_text(end.now - basis_.accepted_at);
      case Hole::milliseconds:
        return seconds_text(static_cast<uint64_t>(end.wall));
      case Hole::time_local:
        return std::string(clock_text::local(end.wall));
      case Hole::time_iso8601:
        return std::string(clock_text::iso8601(end.wall));
      case Hole::completion:
        return end.completed ? "OK" : "";
      case Hole::upstream_time:
        return seconds_text(end.now - basis_.attempt_began);
      case Hole::upstream_received:
        return std::to_string(basis_.upstream_received + end.received_from_upstream);
      case Hole::upstream_sent:
        return std::to_string(basis_.upstream_sent + end.sent_to_upstream);
      case Hole::upstream_length:
        return std::to_string(basis_.upstream_length);
    }
    return {};
  }

  struct Place {
    uint32_t position;
    Hole hole;
  };
  Worker& worker_;
  AccessLog log_;
  FileCache cache_;
  std::string path_;
  Basis basis_;
  std::string text_;
  std::vector<Place> holes_;
};

class TunnelLines final : public LateLog {
 public:
  std::vector<std::unique_ptr<LateLog>> lines;
  void finish(const TunnelEnd& end) override {
    for (const auto& line : lines) line->finish(end);
  }
};

Basis basis_of(Request& request) {
  Basis basis;
  basis.bytes_sent = request.bytes_sent();
  basis.body_bytes_sent = request.body_bytes_sent();
  basis.started_at = request.started_at();
  basis.accepted_at = request.connection().accepted_at;
  if (request.upstream_record && !request.upstream_record->attempts.empty()) {
    const UpstreamAttempt& last = request.upstream_record->attempts.back();
    const uint64_t now = request.worker().loop.now();
    basis.attempt_began =
        last.header_time > 0 ? now - static_cast<uint64_t>(last.header_time) : now;
    basis.upstream_sent = last.bytes_sent;
    basis.upstream_received = last.bytes_received;
    basis.upstream_length = last.response_length;
  }
  return basis;
}

bool speaks_of_upstream(Hole hole) {
  return hole >= Hole::upstream_time;
}

void render(Request& request, const shared::LogFormat& format, TunnelLine& line) {
  std::string text;
  for (const shared::LogFormat::Piece& piece : format.pieces) {
    if (piece.variable == conf::kNoVariable) {
      line.add_text(piece.literal);
      continue;
    }
    const Hole hole = hole_of(request.graph().variables[piece.variable].name);
    const bool has_hole =
        hole != Hole::none && (!speaks_of_upstream(hole) || request.upstream_record);
    if (has_hole && speaks_of_upstream(hole)) {
      // "0.001, 0.002 : 0.003": all but the last attempt are known.
      const std::string_view list = request.variable(piece.variable).text;
      const size_t cut = list.rfind(' ');
      if (cut != std::string_view::npos) line.add_text(list.substr(0, cut + 1));
    }
    if (has_hole) {
      line.add_hole(hole);
      continue;
    }
    text.clear();
    shared::append_escaped(text, request.variable(piece.variable), format.escape);
    line.add_text(text);
  }
}

}  // namespace

bool can_render_early(const LogSettings& settings, const conf::VariableTable& variables) {
  bool early = true;
  const auto check = [&](conf::VariableId id) {
    early = early && !shared::reads_late(id, variables, is_late);
  };
  for (const AccessLog& log : settings.logs) {
    log.condition.for_each_variable(check);
    log.path_template.for_each_variable(check);
    for (const shared::LogFormat::Piece& piece : log.format->pieces) {
      if (piece.variable == conf::kNoVariable) continue;
      if (hole_of(variables[piece.variable].name) == Hole::none) check(piece.variable);
    }
  }
  return early;
}

std::unique_ptr<LateLog> log_tunnel(Request& request) {
  const auto& settings = request.settings<LogSettings>();
  if (settings.off) return nullptr;
  const Basis basis = basis_of(request);
  auto all = std::make_unique<TunnelLines>();
  for (const AccessLog& log : settings.logs) {
    if (!log.condition.empty()) {
      const std::string_view value = log.condition.evaluate(request);
      if (value.empty() || value == "0") continue;
    }
    auto line =
        std::make_unique<TunnelLine>(request.worker(), log, settings.file_cache,
                                     std::string(log.path_template.evaluate(request)), basis);
    render(request, *log.format, *line);
    all->lines.push_back(std::move(line));
  }
  if (all->lines.empty()) return nullptr;
  if (all->lines.size() == 1) return std::move(all->lines[0]);
  return all;
}

}  // namespace weir::http::log
