-- Which of some commands the user of this connection may not run. Touches no key.
--
-- ARGV[1]   a key that the commands have to do with
-- then the commands, each a text of words; "KEY" stands for the key
--
-- Returns the first words of those.

local denied = {}
for at = 2, #ARGV do
    local words = {}
    for word in string.gmatch(ARGV[at], '%S+') do
        words[#words + 1] = word == 'KEY' and ARGV[1] or word
    end
    if not redis.acl_check_cmd(unpack(words)) then
        denied[#denied + 1] = words[1]
    end
end
return denied
