-- Which of some commands the user of this connection may not run. Touches no key.
--
-- ARGV, from the second on: the commands, each a text of words; "KEY" stands for the key.
--
-- Returns the first words of those.

local key = ARGV[1]  -- one that the commands have to do with

local denied = {}
for at = 2, #ARGV do
    local words = {}
    for word in string.gmatch(ARGV[at], '%S+') do
        words[#words + 1] = word == 'KEY' and key or word
    end
    if not redis.acl_check_cmd(unpack(words)) then
        denied[#denied + 1] = words[1]
    end
end
return denied
