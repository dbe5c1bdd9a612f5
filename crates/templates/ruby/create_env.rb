# Renders job templates as `create-env` does (docs/spec/releases-and-templates.md §17); exchange.rb comes before. The
# request's `context` holds one context per job, by the job's name.

# compat: a bare string or number is dumped as Ruby shows it.
module JSON
  class << self
    alias_method :dump_anything, :dump
    def dump(*arguments)
      case arguments.first
      when String, Numeric then arguments.first.inspect
      else dump_anything(*arguments)
      end
    end
  end
end

# Data with members: any name answers, nil where there is nothing.
class PropertyStruct
  def self.wrap(value)
    case value
    when Hash then new(value)
    when Array then value.map { |item| wrap(item) }
    else value
    end
  end

  def initialize(members = {})
    @members = members.to_h { |name, value| [name.to_sym, PropertyStruct.wrap(value)] }
  end

  def respond_to_missing?(name, _private_too = false)
    name.end_with?('=') || @members.key?(name)
  end

  def method_missing(name, *arguments)
    return @members[name] unless name.end_with?('=')
    @members[name.to_s.chomp('=').to_sym] = PropertyStruct.wrap(arguments.first)
  end
end

# What templates see as themselves.
class TemplateEvaluationContext
  class UnknownProperty < StandardError
    def initialize(names)
      super("Can't find property '#{names.join("', or '")}'")
    end
  end

  class ActiveElseBlock
    include ElseDecides
  end

  class InactiveElseBlock
    include ElseIsSkipped
  end

  include DottedNames

  attr_reader :name, :index, :properties, :raw_properties, :spec

  def initialize(data)
    @name = data.dig('job', 'name')
    @index = data['index']
    given = data['job_properties'] || merged(data['global_properties'], data['cluster_properties'])
    @raw_properties = {}
    data['default_properties'].each { |name, default| declare(name, given, default) }
    @properties = PropertyStruct.wrap(@raw_properties)
    @spec = PropertyStruct.wrap(data)
  end

  def p(names, *default)
    names = Array(names)
    names.each do |name|
      value = lookup(@raw_properties, name)
      return value unless value.nil?
    end
    return default.first if default.size == 1
    raise UnknownProperty.new(names)
  end

  def if_p(*names)
    values = values_of(@raw_properties, names)
    return ActiveElseBlock.new(self) if values.nil?
    yield(*values)
    InactiveElseBlock.new
  end

  # compat: there are no links, and no else block to ask.
  def if_link(_name)
    false
  end

  def get_binding
    binding
  end

  private

  def merged(below, above)
    below.merge(above) do |_, old, new|
      old.is_a?(Hash) && new.is_a?(Hash) ? merged(old, new) : new
    end
  end

  def declare(name, given, default)
    value = lookup(given, name)
    *folders, last = name.split('.')
    folder = folders.inject(@raw_properties) { |inner, key| inner[key] ||= {} }
    folder[last] = value.nil? ? default : value
  end
end

class Worker
  def answer(request)
    { jobs: request['jobs'].map { |job| render_job(job, JSON.generate(request['context'][job['name']])) } }
  end

  private

  def render_job(job, data)
    # The original does the monit file last and stops at the first error; the caller reports the first.
    templates = job['templates'].map { |template| fill_in(template, data) }
    { monit: fill_in(job['monit'], data), templates: templates }
  end

  def fill_in(template, data)
    # compat: errors before the context is there name neither job nor index.
    context = nil
    erb = compile(template)
    context = TemplateEvaluationContext.new(JSON.parse(data, max_nesting: false))
    encode(erb.result(context.get_binding))
  rescue Exception => e # rubocop:disable Lint/RescueException -- a template may raise anything, also `exit`
    shown = e.inspect.dup.force_encoding(Encoding::UTF_8).scrub
    frame = (e.backtrace || []).find { |line| line.include?(template['name']) }
    line = frame.nil? ? 'unknown' : frame.sub(template['name'], '').split(':')[1]
    who = "#{context&.name}/#{context&.index}"
    { error: "Error filling in template '#{template['name']}' for #{who} (line #{line}: #{shown})" }
  end
end

Worker.new.serve
