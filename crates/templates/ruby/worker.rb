# Renders job templates as a director does; exchange.rb comes before.
#
# The names of classes and members below are what templates of releases see; see docs/spec/releases-and-templates.md
# §14 and §15. Everything else (order of errors, hashes, archives) is decided by the program that started this one.

require 'ostruct'
require 'shellwords'

# ActiveSupport's object extensions, which the original has loaded.
class Object
  def blank?
    respond_to?(:empty?) ? !!empty? : !self
  end

  def present?
    !blank?
  end

  def presence
    self if present?
  end
end

class String
  def blank?
    match?(/\A[[:space:]]*\z/)
  end
end

class Numeric
  def blank?
    false
  end
end

# compat: before json 2.8 an empty list was printed over two lines. A line break can't stand inside of a JSON string,
# so it is safe to look for one between brackets.
if Gem::Version.new(JSON::VERSION) < Gem::Version.new('2.8')
  module JSON
    class << self
      alias_method :pretty_generate_over_lines, :pretty_generate
      def pretty_generate(*arguments)
        pretty_generate_over_lines(*arguments).gsub(/\[\n\n\s*\]/, '[]').gsub(/\{\n\n\s*\}/, '{}')
      end
    end
  end
end

module Bosh
  module Common
    module Template
      class UnknownProperty < StandardError
        def initialize(names)
          super("Can't find property '#{names.inspect}'")
        end
      end

      class UnknownLink < StandardError
        def initialize(name)
          super("Can't find link '#{name}'")
        end
      end

      # A hash whose members are methods. Unlike its parent it makes no method per member, which costs too much for
      # a large tree that a template looks at once; only members that are named like a method of every object need one.
      class OpenData < OpenStruct
        TAKEN = Object.public_instance_methods.select { |name| name.match?(/\A[a-z_]\w*\z/i) }.to_h { |name| [name, true] }.freeze

        def self.wrap(value)
          case value
          when Hash then new(value)
          when Array then value.map { |item| wrap(item) }
          else value
          end
        end

        # Members are wrapped when they are asked for: most templates look at few of them.
        def initialize(hash)
          @table = {}
          @raw = hash.transform_keys(&:to_sym)
          @raw.each_key do |key|
            define_singleton_method(key) { self[key] } if TAKEN[key] && !%i[__send__ object_id].include?(key)
          end
        end

        def [](name)
          name = name.to_sym
          @table.fetch(name) { @raw.key?(name) ? @table[name] = OpenData.wrap(@raw[name]) : nil }
        end

        def []=(name, value)
          name = name.to_sym
          @raw[name] = value
          @table[name] = value
        end

        def marshal_dump
          @raw.each_key { |name| self[name] }
          @raw.to_h { |name, _| [name, @table[name]] }
        end
        alias to_h marshal_dump

        def methods(all = true)
          all ? super() : @raw.keys
        end

        def respond_to_missing?(name, private_too = false)
          @raw.key?(name.to_s.chomp('=').to_sym) || super
        end

        def method_missing(name, *arguments)
          if name.end_with?('=')
            self[name.to_s.chomp('=')] = arguments.first
          elsif arguments.empty?
            self[name]
          else
            super
          end
        end

        def inspect
          "#<OpenStruct#{marshal_dump.map { |key, value| " #{key}=#{value.inspect}" }.join(',')}>"
        end
        alias to_s inspect
      end

      module Lookup
        include DottedNames

        private

        def value_of(hash, arguments)
          names = Array(arguments.first)
          names.each do |name|
            value = lookup(hash, name)
            return value unless value.nil?
          end
          return arguments[1] if arguments.length == 2
          raise UnknownProperty.new(names)
        end
      end

      # What a template is evaluated in.
      class EvaluationContext
        include Lookup

        attr_reader :name, :index, :raw_properties

        def initialize(data, encoder)
          @data = data
          @name = data.dig('job', 'name').nil? ? data['name'] : data['job']['name']
          @index = data['index']
          @raw_properties = data['properties'] || {}
          @links = data['links'] || {}
          @encoder = encoder
        end

        def properties
          return nil if @data['properties'].nil?
          @properties ||= OpenData.wrap(@data['properties'])
        end

        def spec
          @spec ||= OpenData.wrap(@data)
        end

        def get_binding
          binding
        end

        def p(*arguments)
          value_of(@raw_properties, arguments)
        end

        def if_p(*names)
          values = values_of(@raw_properties, names)
          return ActiveElseBlock.new(self) if values.nil?
          yield(*values)
          InactiveElseBlock.new
        end

        def link(name)
          find_link(name) || raise(UnknownLink.new(name))
        end

        def if_link(name)
          found = find_link(name)
          return ActiveElseBlock.new(self) if found.nil?
          yield found
          InactiveElseBlock.new
        end

        private

        def find_link(name)
          data = lookup(@links, name)
          return nil if data.nil? || data['instances'].nil?
          EvaluationLink.new(data, @encoder)
        end

        class ActiveElseBlock
          include ElseDecides

          def else_if_link(name, &block)
            @context.if_link(name, &block)
          end
        end

        class InactiveElseBlock
          include ElseIsSkipped

          def else_if_link(*)
            self
          end
        end
      end

      # Properties that come with a link or with one of its instances.
      module LinkProperties
        include Lookup

        attr_reader :properties

        def p(*arguments)
          value_of(@properties, arguments)
        end

        def if_p(*names)
          values = values_of(@properties, names)
          return EvaluationContext::ActiveElseBlock.new(self) if values.nil?
          yield(*values)
          EvaluationContext::InactiveElseBlock.new
        end
      end

      class EvaluationLinkInstance
        include LinkProperties

        attr_reader :name, :id, :index, :az, :address, :bootstrap

        def initialize(data)
          @name, @id, @index, @az, @address, @bootstrap =
            data.values_at('name', 'id', 'index', 'az', 'address', 'bootstrap')
          @properties = data['properties'] || {}
        end
      end

      class EvaluationLink
        include LinkProperties

        attr_reader :instances

        def initialize(data, encoder)
          @data = data
          @encoder = encoder
          @properties = data['properties'] || {}
          @instances = data['instances'].map { |instance| EvaluationLinkInstance.new(instance) }
        end

        def address(criteria = {})
          return @data['address'] unless @data['address'].nil?
          raise 'link.address requires bosh director' if @encoder.nil?
          @encoder.address(@data, criteria)
        end
      end

      # Names that the agents' DNS answers for a link.
      class DnsEncoder
        STATUSES = { 'unhealthy' => 1, 'healthy' => 3, 'all' => 4 }.freeze

        def initialize(tables)
          @azs = tables['azs'] || {}
          @networks = tables['networks'] || {}
          @groups = tables['groups'] || []
        end

        def address(link, criteria)
          short = link['use_short_dns_addresses']
          label = "q-#{codes(link, criteria, short).sort.join}"
          return "#{label}.q-g#{group_id(link)}.#{link['domain']}" if short
          names = [link['instance_group'], link['default_network'], link['deployment_name']]
          [label, *names.map { |name| canonical(name) }, link['domain']].join('.')
        end

        private

        def codes(link, criteria, short)
          codes = Array(criteria[:azs]).map { |az| "a#{@azs[az] || raise("Unknown AZ: '#{az}'")}" }
          codes << "s#{STATUSES.fetch(criteria[:status].to_s, 0)}"
          case criteria[:initial_health_check].to_s
          when 'synchronous' then codes << 'y1'
          when 'asynchronous' then codes << 'y0'
          end
          if short
            network = link['default_network']
            codes << "n#{@networks[network] || raise("Unknown Network: '#{network}'")}"
            codes << "m#{instance_number(link, criteria[:uuid])}" if criteria[:uuid]
          end
          codes
        end

        def instance_number(link, uuid)
          instance = link['instances'].find { |candidate| candidate['id'] == uuid }
          instance.nil? ? nil : instance['index']
        end

        def group_id(link)
          kind, name = if link['use_link_dns_names']
                         ['link', link['group_name']]
                       else
                         ['instance-group', link['instance_group']]
                       end
          group = @groups.find do |candidate|
            candidate.values_at('type', 'name', 'deployment') == [kind, name, link['deployment_name']]
          end
          group && group['id']
        end

        def canonical(text)
          name = text.to_s.downcase.tr('_', '-').gsub(/[^a-z0-9-]/, '')
          raise "Invalid DNS canonical name '#{name}', cannot start with a hyphen" if name.start_with?('-')
          raise "Invalid DNS canonical name '#{name}', cannot end with a hyphen" if name.end_with?('-')
          name
        end
      end
    end
  end
end

class Worker
  # Templates whose compiled form is kept. A deploy renders few jobs for many instances.
  CACHE = 256

  def initialize
    @compiled = {}
  end

  def answer(request)
    encoder = request['dns'] && Bosh::Common::Template::DnsEncoder.new(request['dns'])
    { jobs: request['jobs'].map { |job| render_job(job, request['context'], encoder) } }
  end

  private

  def render_job(job, context, encoder)
    data = Marshal.dump(narrow(context, job))
    evaluate = lambda do |template|
      fresh = Bosh::Common::Template::EvaluationContext.new(Marshal.load(data), encoder)
      fill_in(template, fresh)
    end
    monit = evaluate.call(job['monit'])
    return { monit: monit, templates: [] } if monit.key?(:error)
    { monit: monit, templates: job['templates'].map(&evaluate) }
  end

  # The instance's data as one job sees it.
  def narrow(context, job)
    data = context.dup
    name = job['name']
    if data['properties_need_filtering'] && data['properties'].is_a?(Hash) && data['properties'].key?(name)
      data['properties'] = data['properties'][name]
    end
    data['links'] = data['links'].is_a?(Hash) ? data['links'][name] || {} : {}
    data['release'] = job['release'] unless job['release'].nil?
    data
  end

  def fill_in(template, context)
    encode(compiled(template).result(context.get_binding))
  rescue Exception => e # rubocop:disable Lint/RescueException -- a template may raise anything, also `exit`
    message = e.message.dup.force_encoding(Encoding::UTF_8).scrub
    { error: "Error filling in template '#{template['name']}' (line #{line_of(e, template['name'])}: #{message})" }
  end

  def line_of(error, name)
    frame = (error.backtrace || []).find { |line| line.start_with?("#{name}:") }
    frame.nil? ? '(unknown)' : frame[/\A#{Regexp.escape(name)}:(\d+)/, 1]
  end

  def compiled(template)
    key = [template['name'], template['text'], template['base64']]
    @compiled.clear if @compiled.size >= CACHE
    @compiled[key] ||= compile(template)
  end
end

Worker.new.serve
