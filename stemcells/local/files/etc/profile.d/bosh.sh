export PATH=/var/vcap/bosh/bin:$PATH
