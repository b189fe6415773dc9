#include "engine/process/plan.h"

#include "confparse/render.h"
#include "confparse/worlds.h"
#include "engine/process/compile_generation.h"
#include "engine/process/wire.h"

namespace weir::process {

namespace {

// One function describes each struct for both directions: Wire is WireWriter or WireReader.
struct Write {
  WireWriter& wire;
  template <class T>
  void operator()(const T& value) {
    wire.put(value);
  }
  void operator()(const std::string& value) { wire.put(std::string_view(value)); }
  template <class T, class Each>
  void list(const std::vector<T>& values, Each each) {
    wire.put(static_cast<uint64_t>(values.size()));
    for (const T& value : values) each(const_cast<T&>(value));
  }
};

struct Read {
  WireReader& wire;
  template <class T>
  void operator()(T& value) {
    wire.get(value);
  }
  template <class T, class Each>
  void list(std::vector<T>& values, Each each) {
    values.clear();
    const uint64_t count = wire.count();
    for (uint64_t i = 0; i < count && !wire.failed(); ++i) each(values.emplace_back());
  }
};

template <class Wire>
void exchange(Wire& wire, net::ListenOptions& options) {
  std::string address(options.address.bytes());
  wire(address);
  options.address = net::Address::from_bytes(address);
  wire(options.type);
  wire(options.backlog);
  wire(options.receive_buffer);
  wire(options.send_buffer);
  wire(options.fast_open);
  wire(options.reuseport);
  wire(options.ipv6only);
  wire(options.deferred);
  wire(options.transparent);
  wire(options.keepalive.mode);
  wire(options.keepalive.idle_seconds);
  wire(options.keepalive.interval_seconds);
  wire(options.keepalive.count);
}

template <class Wire>
void exchange(Wire& wire, ErrorLogTarget& target) {
  wire(target.kind);
  wire(target.name);
  wire(target.level);
  SyslogOptions options = target.syslog ? *target.syslog : SyslogOptions{};
  wire(options.server);
  wire(options.address);
  wire(options.facility);
  wire(options.severity);
  wire(options.tag);
  wire(options.no_host_name);
  if (target.kind == ErrorLogTarget::Kind::syslog) {
    target.syslog = std::make_shared<SyslogOptions>(std::move(options));
  }
}

template <class Wire>
void exchange(Wire& wire, ProcessorMask& mask) {
  std::string text = mask.to_string();
  wire(text);
  if (text.size() == kMostProcessors) mask = ProcessorMask(text);
}

template <class Wire>
void exchange(Wire& wire, CoreSettings& core) {
  wire(core.daemon);
  wire(core.master_process);
  wire(core.worker_processes);
  wire(core.pid_file);
  wire(core.lock_file);
  wire(core.working_directory);
  wire(core.user_name);
  wire(core.user_known);
  wire(core.user);
  wire(core.group);
  wire.list(core.error_log, [&](ErrorLogTarget& target) { exchange(wire, target); });
  wire.list(core.environment, [&](std::string& text) { wire(text); });
  wire(core.open_files.value);
  wire(core.core_size.value);
  wire(core.priority);
  wire(core.affinity_auto);
  wire.list(core.affinity, [&](ProcessorMask& mask) { exchange(wire, mask); });
  wire(core.shutdown_timeout.value);
  wire(core.transparent);
}

template <class Wire>
void exchange(Wire& wire, Plan& plan) {
  wire(plan.number);
  wire(plan.ok);
  wire(plan.syntax_ok);
  wire.list(plan.problems, [&](Plan::Problem& problem) {
    wire(problem.severity);
    wire(problem.text);
  });
  wire(plan.explained);
  wire(plan.locations.prefix);
  wire(plan.locations.conf_file);
  wire(plan.locations.conf_prefix);
  wire(plan.locations.error_log);
  wire(plan.locations.global_directives);
  exchange(wire, plan.core);
  wire(plan.events.worker_connections);
  wire(plan.events.multi_accept);
  wire.list(plan.resources.listeners, [&](ListenRequest& request) {
    exchange(wire, request.options);
    wire(request.is_http);
  });
  wire.list(plan.resources.log_files, [&](std::string& path) { wire(path); });
  wire.list(plan.resources.temp_folders, [&](TempFolder& folder) { wire(folder.path); });
  wire.list(plan.resources.zones, [&](zone::ZoneRequest& zone) {
    wire(zone.name);
    wire(zone.size);
    wire(zone.kind);
    wire(zone.key);
  });
  wire(plan.bundle);
}

}  // namespace

std::string Plan::encode() const {
  WireWriter writer;
  Write wire{writer};
  Plan copy = *this;
  exchange(wire, copy);
  return writer.take();
}

bool Plan::decode(std::string_view bytes, Plan& out) {
  WireReader reader(bytes);
  Read wire{reader};
  exchange(wire, out);
  return !reader.failed();
}

std::string make_plan(std::span<const conf::Module* const> modules, const Locations& locations,
                      uint64_t number) {
  conf::Bundle bundle;
  conf::RealWorld world(&bundle);
  const CompiledGeneration compiled = compile_generation(world, modules, locations, number);
  Plan plan;
  plan.number = number;
  plan.ok = compiled.ok;
  plan.syntax_ok = compiled.syntax_ok;
  plan.locations = locations;
  bool failed = false;
  for (const conf::Diagnostic& diagnostic : compiled.diagnostics) {
    plan.problems.push_back({diagnostic.severity, diagnostic_text(compiled, diagnostic)});
    failed = diagnostic.severity <= conf::Severity::crit;
    if (failed) break;
  }
  if (failed) plan.explained = conf::render_explained(compiled.diagnostics, *compiled.sources);
  std::string bytes;
  if (compiled.ok) {
    plan.core = compiled.generation->root->get<CoreSettings>();
    plan.events = compiled.generation->root->get<EventSettings>();
    plan.resources = compiled.generation->resources;
    bytes = bundle.serialize();
    plan.bundle = bytes;
  }
  return plan.encode();
}

}  // namespace weir::process
